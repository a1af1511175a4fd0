-- Macros stored in the file: any DuckDB client has them.

-- pass@k of n samples with c correct, without replacement: 1 - C(n-c, k) / C(n, k) as a product; exactly 1 when n - c < k; null when k > n.
CREATE OR REPLACE MACRO pass_at_k(n, c, k) AS
    CASE WHEN k > n OR k < 1 OR c < 0 OR c > n THEN NULL
         WHEN n - c < k THEN 1.0::DOUBLE
         WHEN c = 0 THEN 0.0::DOUBLE
         ELSE 1.0::DOUBLE - list_product(list_transform(range((n - c + 1)::BIGINT, (n + 1)::BIGINT), lambda i: 1.0::DOUBLE - k / i::DOUBLE))
    END;

-- Unbiased variance of pass_at_k over new samples of the same question: g(k)^2 - g(2k), g = 1 - pass@; null when 2k > n.
CREATE OR REPLACE MACRO pass_at_k_variance(n, c, k) AS
    CASE WHEN 2 * k <= n THEN greatest(0.0::DOUBLE, (1 - pass_at_k(n, c, k)) ** 2 - (1 - pass_at_k(n, c, 2 * k))) END;

-- Probability that all of k samples are correct: C(c, k) / C(n, k); null when k > n.
CREATE OR REPLACE MACRO all_correct_at_k(n, c, k) AS 1 - pass_at_k(n, n - c, k);

-- Wilson 95 % interval of a share of c successes in n trials.
CREATE OR REPLACE MACRO wilson_low(n, c) AS
    CASE WHEN n < 1 THEN NULL WHEN c = 0 THEN 0.0::DOUBLE
         ELSE (c + 1.9207294 - 1.959964 * sqrt(c * (n - c) / n::DOUBLE + 0.9603647)) / (n + 3.8414588) END;
CREATE OR REPLACE MACRO wilson_high(n, c) AS 1 - wilson_low(n, n - c);
