"""The requirements of docs/data-model.md as set-based SQL, used on a batch when it is stored and on everything by
`check`.

A rule reads the rows under test from [nodes], [scores], [touched] or [touched_scores]: a batch and what it touches,
or the whole tables. It yields run, question, node and the number and text of what is wrong; the remedy is looked up
by that number. Conditions that are null count as fulfilled.
"""

from __future__ import annotations

from typing import NamedTuple


class Condition(NamedTuple):
    """One requirement on a row: the SQL that is true where it is broken, the text that says how, and what to do
    about it.
    """

    broken: str
    what: str
    remedy: str


_REIMPORT = "Correct the source and import it again."
_RECORD = "Record the run afresh, or delete the node and everything below it."

_NODE_CONDITIONS = (
    Condition(
        "node.run_id IS NULL OR node.node_id IS NULL OR node.question_id IS NULL OR node.draw IS NULL"
        " OR node.greedy IS NULL OR node.tokens IS NULL OR node.stop IS NULL",
        "'a required column is null'",
        "run_id, node_id, question_id, draw, greedy, tokens and stop are required.",
    ),
    Condition(
        "run.run_id IS NULL",
        "format('its run ''{}'' is not in `runs`', node.run_id)",
        "Add the run, or delete its nodes.",
    ),
    Condition(
        "question.question_id IS NULL", "'its question is not in `questions`'", "Add the question, or delete its nodes."
    ),
    Condition(
        "node.node_id < 0 OR node.node_id >= 1::BIGINT << 44",
        "'node ids are 0 to 2^44 - 1'",
        "Renumber the run's nodes.",
    ),
    Condition(
        "node.parent_id >= node.node_id",
        "CASE WHEN node.parent_id = node.node_id THEN 'it is its own parent'"
        " ELSE format('parent {} comes after it', node.parent_id) END",
        "Number parents before their children; a cycle has no such numbering.",
    ),
    Condition(
        "node.parent_id IS NOT NULL AND parent.node_id IS NULL",
        "format('parent {} is missing', node.parent_id)",
        _RECORD,
    ),
    Condition(
        "parent.question_id <> node.question_id",
        "format('parent {} belongs to question ''{}''', node.parent_id, parent.question_id)",
        _RECORD,
    ),
    Condition(
        "run.kind = 'steps' AND parent.stop <> 'step'",
        "format('parent {} is terminal (stop {}) and can have no child', node.parent_id, parent.stop)",
        "Delete the child, or set its parent's stop to 'step' and answer to null; revisions need a run of that kind.",
    ),
    Condition("node.draw < 0", "format('draw {} is negative', node.draw)", "Number draws from 0."),
    Condition("node.tokens < 0", "format('{} tokens', node.tokens)", "Count tokens from 0."),
    Condition(
        "NOT isfinite(node.logprob) OR NOT isfinite(node.min_logprob)",
        "concat('logprob ', node.logprob, ', min_logprob ', node.min_logprob, ' (finite or null)')",
        "Write null where a log-probability is unknown.",
    ),
    Condition(
        "node.stop NOT IN ('step', 'eos', 'length')",
        "format('stop ''{}''', node.stop)",
        "Use 'step', 'eos' or 'length'.",
    ),
    Condition(
        "run.kind = 'revisions' AND node.stop = 'step'",
        "'it is an attempt of a revision run, yet its stop is ''step'''",
        "Use 'eos' or 'length': an attempt is a whole solution.",
    ),
    Condition(
        "node.stop = 'step' AND node.answer_id IS NOT NULL AND run.kind = 'steps'",
        "format('answer {} ends here, yet stop is ''step''', node.answer_id)",
        "A terminal step has stop 'eos' or 'length'.",
    ),
    Condition(
        "node.answer_id IS NOT NULL AND answer.answer_id IS NULL",
        "format('answer {} is not among the answers of its question', node.answer_id)",
        "Add the answer to `answers`, or set it to null (cannot be parsed).",
    ),
    Condition(
        "NOT node.greedy AND node.parent_id IS NULL AND node.draw >= run.root_pool",
        "format('draw {} lies outside the root pool of {}', node.draw, run.root_pool)",
        "Raise the run's root_pool, or delete the draw.",
    ),
    Condition(
        "NOT node.greedy AND node.parent_id IS NOT NULL AND node.draw >= run.step_pool",
        "format('draw {} lies outside the step pool of {}', node.draw, run.step_pool)",
        "Raise the run's step_pool, or delete the draw.",
    ),
    Condition(
        "run.kind = 'revisions' AND node.parent_id IS NOT NULL AND node.draw <> 0",
        "format('draw {} below attempt {}: an attempt has one next attempt, draw 0', node.draw, node.parent_id)",
        "Start another chain under the prompt instead.",
    ),
)

_SCORE_CONDITIONS = (
    Condition(
        "score.score IS NULL OR NOT isfinite(score.score)",
        "concat('score ', score.score, ' of verifier ''', score.verifier_id, ''' is not finite')",
        "Delete the row: an absent score means not scored.",
    ),
    Condition(
        "node.node_id IS NULL",
        "format('verifier ''{}'' scored this node, which is not in run ''{}''', score.verifier_id, score.run_id)",
        "Delete the score, or add the node.",
    ),
    Condition(
        "verifier.verifier_id IS NULL",
        "format('its verifier ''{}'' is not in `verifiers`', score.verifier_id)",
        "Add the verifier, or delete its scores.",
    ),
)


def _row_rule(conditions: tuple[Condition, ...], run: str, question: str, node: str, source: str) -> str:
    # Rows are filtered by one OR first; the list of texts is built for broken rows only.
    texts = ", ".join(
        f"CASE WHEN {condition.broken} THEN {{'number': {number}, 'what': {condition.what}}} END"
        for number, condition in enumerate(conditions)
    )
    broken = " OR ".join(f"coalesce({condition.broken}, false)" for condition in conditions)
    return (
        f"SELECT run, question, node, fault.number AS number, fault.what AS what FROM ("
        f"SELECT {run} AS run, {question} AS question, {node} AS node, "
        f"unnest(list_filter([{texts}], lambda fault: fault IS NOT NULL)) AS fault FROM {source} WHERE {broken})"
    )


class Rule(NamedTuple):
    """SQL with a placeholder for the rows under test, and the remedies by number."""

    sql: str
    remedies: tuple[str, ...]


NODE_ROWS = Rule(
    _row_rule(
        _NODE_CONDITIONS,
        "node.run_id",
        "node.question_id",
        "node.node_id",
        "[nodes] AS node LEFT JOIN runs AS run ON run.run_id = node.run_id"
        " LEFT JOIN questions AS question ON question.question_id = node.question_id"
        " LEFT JOIN nodes AS parent ON parent.node_id = node.parent_id AND parent.run_id = node.run_id"
        " LEFT JOIN answers AS answer ON answer.question_id = node.question_id AND answer.answer_id = node.answer_id",
    ),
    tuple(condition.remedy for condition in _NODE_CONDITIONS),
)
NODE_IDS = Rule(
    "SELECT run_id AS run, min(question_id) AS question, node_id AS node, 0 AS number,"
    " format('{} nodes have this id', count(*)) AS what FROM [nodes] GROUP BY run_id, node_id HAVING count(*) > 1",
    ("Renumber the run's nodes.",),
)
SIBLINGS = Rule(
    "SELECT run_id AS run, question_id AS question, node, 0 AS number,"
    " CASE WHEN greedy THEN format('{} greedy children under {}', times, parent)"
    " ELSE format('draw {} occurs {} times under {}', draw, times, parent) END AS what"
    " FROM (SELECT run_id, question_id, max(node_id) AS node, min(greedy) AS greedy, min(draw) AS draw,"
    " count(*) AS times, coalesce('node ' || parent_id, 'the prompt') AS parent FROM [touched]"
    " GROUP BY run_id, question_id, parent_id, CASE WHEN greedy THEN -1 ELSE draw END HAVING count(*) > 1)",
    ("Number the draws of siblings apart, and keep one greedy child; two equal texts drawn twice are two draws.",),
)
SCORE_ROWS = Rule(
    _row_rule(
        _SCORE_CONDITIONS,
        "score.run_id",
        "node.question_id",
        "score.node_id",
        "[scores] AS score LEFT JOIN nodes AS node ON node.node_id = score.node_id AND node.run_id = score.run_id"
        " LEFT JOIN verifiers AS verifier ON verifier.verifier_id = score.verifier_id",
    ),
    tuple(condition.remedy for condition in _SCORE_CONDITIONS),
)
SCORE_KEYS = Rule(
    "SELECT run_id AS run, NULL AS question, node_id AS node, 0 AS number,"
    " format('verifier ''{}'' scored it {} times', verifier_id, count(*)) AS what"
    " FROM [touched_scores] GROUP BY run_id, node_id, verifier_id HAVING count(*) > 1",
    ("Keep one score per node and verifier.",),
)
ANSWERS = Rule(
    "SELECT NULL AS run, answer.question_id AS question, NULL::BIGINT AS node, 0 AS number,"
    " format('answer {} belongs to a question that is not in `questions`', answer_id) AS what"
    " FROM answers AS answer ANTI JOIN questions USING (question_id)"
    " UNION ALL SELECT NULL, question_id, NULL, 1,"
    " format('answers {} have the same text', string_agg(answer_id::VARCHAR, ', ' ORDER BY answer_id))"
    " FROM answers GROUP BY question_id, text HAVING count(*) > 1"
    " UNION ALL SELECT NULL, question_id, NULL, 2,"
    " format('answers are numbered {} to {}, but there are {}', min(answer_id), max(answer_id), count(*))"
    " FROM answers GROUP BY question_id HAVING min(answer_id) <> 0 OR max(answer_id) <> count(*) - 1",
    (
        "Add the question, or delete its answers.",
        "Merge them: correctness belongs to the answer.",
        "Number the answers of a question from 0, by first appearance.",
    ),
)
RUNS = Rule(
    "SELECT run_id AS run, NULL AS question, NULL::BIGINT AS node, 0 AS number, format('kind ''{}''', kind) AS what"
    " FROM runs WHERE kind NOT IN ('steps', 'revisions')"
    " UNION ALL SELECT run_id, NULL, NULL, 1, format('its model ''{}'' is not in `models`', model_id)"
    " FROM runs ANTI JOIN models USING (model_id) WHERE model_id IS NOT NULL"
    " UNION ALL SELECT run_id, NULL, NULL, 2, concat_ws(' ', 'pools', root_pool, step_pool)"
    " FROM runs WHERE root_pool < 1 OR step_pool < 1",
    (
        "Use 'steps' or 'revisions'.",
        "Add the model, or set model_id to null.",
        "Pools hold at least one draw, or are null (what is cached).",
    ),
)
SMALL_RULES = (ANSWERS, RUNS)
NODE_RULES = (NODE_ROWS, NODE_IDS, SIBLINGS)
SCORE_RULES = (SCORE_ROWS, SCORE_KEYS)
