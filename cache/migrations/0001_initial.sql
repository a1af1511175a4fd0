-- The tables of docs/data-model.md. Small tables carry primary keys. `nodes` and `scores` carry none: an ART index on millions of rows
-- would cost more memory and insertion time than the data itself, and appends already compare ids with the largest id of the run.
CREATE TABLE meta (
    key VARCHAR PRIMARY KEY,
    value VARCHAR
);
CREATE TABLE models (
    model_id VARCHAR PRIMARY KEY,
    num_params BIGINT,
    pretraining_tokens BIGINT,
    finetuning_tokens BIGINT,
    source VARCHAR,
    revision VARCHAR
);
CREATE TABLE questions (
    question_id VARCHAR PRIMARY KEY,
    dataset VARCHAR,
    split VARCHAR,
    prompt VARCHAR,
    gold VARCHAR,
    level INTEGER,
    subject VARCHAR,
    extra JSON
);
CREATE TABLE answers (
    question_id VARCHAR NOT NULL,
    answer_id INTEGER NOT NULL,
    text VARCHAR NOT NULL,
    correct BOOLEAN NOT NULL,
    grader VARCHAR,
    PRIMARY KEY (question_id, answer_id)
);
CREATE TABLE runs (
    run_id VARCHAR PRIMARY KEY,
    kind VARCHAR NOT NULL,
    model_id VARCHAR,
    temperature DOUBLE,
    top_p DOUBLE,
    step_delimiter VARCHAR,
    prompt_template VARCHAR,
    seed BIGINT,
    root_pool INTEGER,
    step_pool INTEGER,
    exchangeable BOOLEAN NOT NULL DEFAULT true,
    provenance JSON,
    started TIMESTAMP,
    finished TIMESTAMP
);
CREATE TABLE nodes (
    run_id VARCHAR NOT NULL,
    node_id BIGINT NOT NULL,
    question_id VARCHAR NOT NULL,
    parent_id BIGINT,
    draw INTEGER NOT NULL,
    greedy BOOLEAN NOT NULL DEFAULT false,
    text VARCHAR,
    tokens INTEGER NOT NULL,
    logprob FLOAT,
    min_logprob FLOAT,
    stop VARCHAR NOT NULL,
    answer_id INTEGER
);
CREATE TABLE verifiers (
    verifier_id VARCHAR PRIMARY KEY,
    kind VARCHAR NOT NULL,
    model_id VARCHAR,
    details JSON
);
CREATE TABLE scores (
    run_id VARCHAR NOT NULL,
    node_id BIGINT NOT NULL,
    verifier_id VARCHAR NOT NULL,
    score FLOAT NOT NULL
);
CREATE TABLE outcomes (
    content VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,
    question_id VARCHAR NOT NULL,
    strategy VARCHAR NOT NULL,
    verifier_id VARCHAR,
    budget INTEGER NOT NULL,
    seed BIGINT,
    trials INTEGER NOT NULL,
    accuracy DOUBLE,
    lower DOUBLE,
    upper DOUBLE,
    supported DOUBLE,
    method VARCHAR NOT NULL,
    variance DOUBLE,
    generations DOUBLE,
    tokens DOUBLE,
    verifier_tokens DOUBLE,
    critical_tokens DOUBLE,
    missing DOUBLE,
    exhausted DOUBLE,
    saved TIMESTAMP NOT NULL
);
