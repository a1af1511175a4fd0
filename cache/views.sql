-- Views stored in the file. Trees are walked level by level: one hash join per depth, on one BIGINT key (run number << 44 | node id), which
-- was four times faster than joining on (run_id, node_id, verifier_id).

-- One row per node: its depth (1 under the prompt), tokens from the prompt to it (of a revision: its own), whether it was sampled (no greedy
-- node on its path), and whether it lies on a flat sample: an i.i.d. root draw followed by draw 0 at every step.
CREATE OR REPLACE VIEW paths AS
WITH RECURSIVE
node AS MATERIALIZED (  -- read once, not once per level: Parquet would be decoded again each time
    SELECT run_id, node_id, question_id, parent_id, tokens, greedy, draw FROM nodes
),
path AS (
    SELECT run_id, node_id, question_id, 1 AS depth, tokens::BIGINT AS tokens, NOT greedy AS sampled, NOT greedy AS flat,
           run_id IN (SELECT run_id FROM runs WHERE kind = 'revisions') AS revision
    FROM node WHERE parent_id IS NULL
    UNION ALL
    SELECT node.run_id, node.node_id, node.question_id, depth + 1, CASE WHEN revision THEN 0 ELSE path.tokens END + node.tokens,
           sampled AND NOT node.greedy, flat AND NOT node.greedy AND node.draw = 0, revision
    FROM path JOIN node ON node.parent_id = path.node_id AND node.run_id = path.run_id
)
SELECT run_id, question_id, node_id, depth, tokens, sampled, flat FROM path;

-- One row per node and verifier that scored it and everything above it: last, min, prod and mean of the scores from the prompt to it.
-- An attempt of a revision run is a whole solution: its own score only.
CREATE OR REPLACE VIEW path_scores AS
WITH RECURSIVE
pair AS MATERIALIZED (
    SELECT run_id, runs.kind, verifier_id, (row_number() OVER (ORDER BY run_id, verifier_id)) << 44 AS base FROM runs, verifiers
),
scored AS MATERIALIZED (
    SELECT base + score.node_id AS key, CASE WHEN kind = 'steps' THEN base + node.parent_id END AS parent, score.score,
           node.stop <> 'step' AS finished
    FROM scores AS score
    JOIN nodes AS node ON node.run_id = score.run_id AND node.node_id = score.node_id
    JOIN pair ON pair.run_id = score.run_id AND pair.verifier_id = score.verifier_id
),
path AS (
    SELECT key, score AS last, score AS min, score::DOUBLE AS prod, score::DOUBLE AS total, 1 AS steps, finished FROM scored WHERE parent IS NULL
    UNION ALL
    SELECT scored.key, scored.score, least(path.min, scored.score), path.prod * scored.score, path.total + scored.score, path.steps + 1,
           scored.finished
    FROM path JOIN scored ON scored.parent = path.key
)
SELECT pair.run_id, path.key & ((1::BIGINT << 44) - 1) AS node_id, pair.verifier_id,
       path.last, path.min, path.prod, path.total / path.steps AS mean, path.finished
FROM path JOIN pair ON pair.base = (path.key >> 44) << 44;

-- `solutions` without the columns that need a walk over all scored steps.
CREATE OR REPLACE VIEW endings AS
WITH final AS (
    SELECT score.run_id, score.node_id, score.verifier_id, score.score AS last
    FROM scores AS score JOIN nodes AS node ON node.run_id = score.run_id AND node.node_id = score.node_id WHERE node.stop <> 'step'
)
SELECT node.run_id, node.question_id, node.node_id, node.answer_id, answer.text AS answer, coalesce(answer.correct, false) AS correct,
       CASE WHEN run.kind = 'revisions' THEN 1 ELSE path.depth END AS num_steps, path.depth, path.tokens, node.stop,
       path.sampled, path.flat AND (run.kind = 'steps' OR path.depth = 1) AS flat, final.verifier_id, final.last
FROM nodes AS node
JOIN runs AS run ON run.run_id = node.run_id
JOIN paths AS path ON path.run_id = node.run_id AND path.node_id = node.node_id
LEFT JOIN answers AS answer ON answer.question_id = node.question_id AND answer.answer_id = node.answer_id
LEFT JOIN final ON final.run_id = node.run_id AND final.node_id = node.node_id
WHERE node.stop <> 'step';

-- One row per finished solution and verifier that scored its end (one row with verifier null if none did). correct is false where no answer
-- could be parsed. min, prod and mean are null unless every step was scored. flat: one of the i.i.d. samples.
CREATE OR REPLACE VIEW solutions AS
SELECT ending.*, along.min, along.prod, along.mean
FROM endings AS ending
LEFT JOIN path_scores AS along
    ON along.finished AND along.run_id = ending.run_id AND along.node_id = ending.node_id AND along.verifier_id = ending.verifier_id;

-- One row per finished solution: its whole text (of a revision: its own), with its question's prompt, its answer, and whether that is right.
CREATE OR REPLACE VIEW texts AS
WITH RECURSIVE up AS (
    SELECT node.run_id, node.question_id, node.node_id, node.answer_id, node.stop, node.text,
           CASE WHEN run.kind = 'steps' THEN node.parent_id END AS above
    FROM nodes AS node JOIN runs AS run ON run.run_id = node.run_id WHERE node.stop <> 'step'
    UNION ALL
    SELECT up.run_id, up.question_id, up.node_id, up.answer_id, up.stop, parent.text || up.text, parent.parent_id
    FROM up JOIN nodes AS parent ON parent.run_id = up.run_id AND parent.node_id = up.above
)
SELECT up.run_id, up.question_id, up.node_id, question.prompt, up.text, up.stop, answer.text AS answer, coalesce(answer.correct, false) AS correct
FROM up
JOIN questions AS question ON question.question_id = up.question_id
LEFT JOIN answers AS answer ON answer.question_id = up.question_id AND answer.answer_id = up.answer_id
WHERE up.above IS NULL;

-- One row per run, question and verifier (null if none), over the i.i.d. flat samples only: pass@1, mean score of a sample's end, and the majority
-- answer (ties: the first seen is named, majority_correct is the share of correct ones among the tied; nobody answered: 0).
CREATE OR REPLACE VIEW question_stats AS
WITH sample AS MATERIALIZED (SELECT * FROM endings WHERE flat),
one AS (SELECT DISTINCT run_id, question_id, node_id, answer_id, answer, correct FROM sample),
vote AS (
    SELECT run_id, question_id, answer_id, answer, correct, count(*) AS votes FROM one WHERE answer_id IS NOT NULL GROUP BY ALL
),
majority AS (
    SELECT vote.run_id, vote.question_id, arg_min(vote.answer, vote.answer_id) AS majority_answer, max(vote.votes) AS majority_votes,
           avg(vote.correct::INTEGER) AS majority_correct
    FROM vote JOIN (SELECT run_id, question_id, max(votes) AS votes FROM vote GROUP BY ALL) AS most
        ON most.run_id = vote.run_id AND most.question_id = vote.question_id AND most.votes = vote.votes
    GROUP BY vote.run_id, vote.question_id
),
stats AS (
    SELECT run_id, question_id, verifier_id, avg(last) AS mean_score FROM sample GROUP BY ALL
),
counts AS (
    SELECT run_id, question_id, count(*) AS num_samples, count(*) FILTER (correct) AS num_correct, count(DISTINCT answer_id) AS num_answers
    FROM one GROUP BY ALL
)
SELECT stats.run_id, stats.question_id, question.level, num_samples, num_correct, num_correct / num_samples AS pass_at_1,
       num_answers, majority_answer, coalesce(majority_votes, 0) AS majority_votes, coalesce(majority_correct, 0) AS majority_correct,
       verifier_id, mean_score
FROM stats
JOIN counts ON counts.run_id = stats.run_id AND counts.question_id = stats.question_id
LEFT JOIN majority ON majority.run_id = stats.run_id AND majority.question_id = stats.question_id
LEFT JOIN questions AS question ON question.question_id = stats.question_id
ORDER BY stats.run_id, stats.question_id, verifier_id;

-- One row per node of a run of kind steps: its Monte Carlo value, a label for a process verifier without human labels. A finished solution is worth 1
-- if correct, else 0; a step is worth the mean of its sampled children's values; a step that nobody expanded has none and is left out of means.
CREATE OR REPLACE VIEW node_values AS
WITH RECURSIVE
run AS MATERIALIZED (
    SELECT run_id, (row_number() OVER (ORDER BY run_id)) << 44 AS base FROM runs WHERE kind = 'steps'
),
node AS MATERIALIZED (
    SELECT base + node_id AS key, base + parent_id AS parent, greedy, nodes.question_id,
           CASE WHEN stop <> 'step' THEN coalesce(answer.correct, false)::INTEGER::DOUBLE END AS own
    FROM nodes JOIN run ON run.run_id = nodes.run_id
    LEFT JOIN answers AS answer ON answer.question_id = nodes.question_id AND answer.answer_id = nodes.answer_id
),
down AS (
    SELECT key, 1 AS depth FROM node WHERE parent IS NULL
    UNION ALL
    SELECT node.key, down.depth + 1 FROM down JOIN node ON node.parent = down.key
),
placed AS MATERIALIZED (SELECT node.*, down.depth FROM node JOIN down ON down.key = node.key),
up AS (
    SELECT key, parent, question_id, greedy, depth, own AS value, (own IS NOT NULL)::BIGINT AS num_solutions
    FROM placed WHERE depth = (SELECT max(depth) FROM placed)
    UNION ALL
    SELECT placed.key, placed.parent, placed.question_id, placed.greedy, placed.depth, coalesce(placed.own, child.value),
           CASE WHEN placed.own IS NOT NULL THEN 1 ELSE coalesce(child.num_solutions, 0) END
    FROM placed
    LEFT JOIN (
        SELECT parent AS key, avg(value) AS value, sum(num_solutions)::BIGINT AS num_solutions FROM up WHERE NOT greedy GROUP BY parent
    ) AS child ON child.key = placed.key
    WHERE placed.depth = (SELECT max(depth) - 1 FROM up)
)
SELECT run.run_id, up.question_id, up.key & ((1::BIGINT << 44) - 1) AS node_id, up.depth, up.value, up.num_solutions
FROM up JOIN run ON run.base = (up.key >> 44) << 44;

-- One row per run, verifier and tenth of the score's range, over the finished sampled solutions by their last score. The range is [0, 1] where
-- all scores lie in it, else from the smallest to the largest; tenth 10 holds its upper end. A calibrated verifier has mean_correct = mean_score.
CREATE OR REPLACE VIEW calibration AS
WITH ending AS MATERIALIZED (
    SELECT run_id, verifier_id, last::DOUBLE AS score, correct FROM endings WHERE sampled AND verifier_id IS NOT NULL
),
reach AS (
    SELECT run_id, verifier_id, CASE WHEN min(score) >= 0 AND max(score) <= 1 THEN 0 ELSE min(score) END AS low,
           CASE WHEN min(score) >= 0 AND max(score) <= 1 THEN 1 ELSE max(score) END AS high
    FROM ending GROUP BY ALL
),
placed AS (
    SELECT ending.*, low, high,
           CASE WHEN high > low THEN least(10, 1 + floor(10 * (score - low) / (high - low)))::INTEGER ELSE 1 END AS decile
    FROM ending JOIN reach ON reach.run_id = ending.run_id AND reach.verifier_id = ending.verifier_id
)
SELECT run_id, verifier_id, decile, low + (decile - 1) * (high - low) / 10 AS score_from, low + decile * (high - low) / 10 AS score_to,
       count(*) AS num_solutions, avg(score) AS mean_score, avg(correct::INTEGER) AS mean_correct
FROM placed GROUP BY ALL ORDER BY ALL;

-- One row per run and depth (0: prompts): how many nodes could be expanded, how many were, and how many sampled children those have.
CREATE OR REPLACE VIEW coverage AS
WITH child AS (
    SELECT run_id, question_id, coalesce(parent_id, -1) AS node_id, count(*) FILTER (NOT greedy) AS sampled, count(*) FILTER (greedy) AS greedy
    FROM nodes GROUP BY ALL
),
parent AS (
    SELECT node.run_id, node.question_id, node.node_id, path.depth
    FROM nodes AS node
    JOIN runs AS run ON run.run_id = node.run_id
    JOIN paths AS path ON path.run_id = node.run_id AND path.node_id = node.node_id
    WHERE node.stop = 'step' OR run.kind = 'revisions'
    UNION ALL
    SELECT DISTINCT run_id, question_id, -1, 0 FROM nodes
)
SELECT parent.run_id, parent.depth, count(*) AS num_nodes, count(*) FILTER (child.sampled > 0) AS num_expanded,
       min(child.sampled) FILTER (child.sampled > 0) AS min_children, avg(child.sampled) FILTER (child.sampled > 0) AS mean_children,
       max(child.sampled) AS max_children, coalesce(sum(child.greedy), 0)::BIGINT AS num_greedy
FROM parent
LEFT JOIN child ON child.run_id = parent.run_id AND child.question_id = parent.question_id AND child.node_id = parent.node_id
GROUP BY ALL ORDER BY ALL;
