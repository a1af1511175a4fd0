// Votes in the disjoint blocks of permutations of whole pools: the twin of tts_sim/kernels/{sample,blocks,votes}.py.
#include "common.h"

enum { LANES = 8 };

typedef struct {
    int64_t num, draws;
    const int64_t *budgets;
    int64_t *first, *blocks, *place, *row;
} Layout;

typedef struct {
    int64_t num, num_correct, *answer, num_right;
} Votes;

typedef struct {
    const int64_t *tokens;
    int64_t pool, total, longest;
} Lengths;

typedef struct {
    int64_t *restrict order, *restrict answer;
    double *restrict weight, *restrict sums, *restrict highest, *restrict tied, *restrict right, *restrict share;
} Desk;

static void place_parts(int64_t parts, int64_t num_whole, const int64_t *whole, int64_t *place, int64_t size) {
    for (int64_t j = 0; j < num_whole; j++)
        for (int64_t k = 0; k < parts; k++) place[j * parts + k] = k * num_whole + whole[j];
    for (int64_t j = num_whole * parts; j < size; j++) place[j] = j;
}

static Layout lay_out(const int64_t *budgets, int64_t num, int64_t draws) {
    Layout layout = {num, draws, budgets, calloc(num, 8), calloc(num, 8), calloc(num * draws, 8), calloc(num * draws, 8)};
    for (int64_t b = 0; b < num; b++) {
        bool continues = b > 0 && budgets[b] % budgets[b - 1] == 0;
        layout.first[b] = continues ? layout.first[b - 1] : b;
        layout.blocks[b] = draws / budgets[b];
    }
    for (int64_t b = num - 1; b >= 0; b--) {
        int64_t *place = layout.place + b * draws, *whole = place + draws;
        if (b == num - 1 || layout.first[b + 1] == b + 1)
            for (int64_t j = 0; j < layout.blocks[b]; j++) place[j] = j;
        else
            place_parts(budgets[b + 1] / budgets[b], layout.blocks[b + 1], whole, place, draws);
        if (layout.first[b] == b) place_parts(budgets[b], layout.blocks[b], place, layout.row + b * draws, draws);
    }
    return layout;
}

static void free_layout(Layout layout) {
    free(layout.first), free(layout.blocks), free(layout.place), free(layout.row);
}

static bool is_small(int64_t num_answers, int64_t n) { return n <= 2 || n == 4 || n * n < 2 * num_answers; }

static Desk new_desk(const Layout *layout, int64_t num_answers) {
    int64_t size = 0, wide = layout->draws * LANES;
    for (int64_t b = 0; b < layout->num; b++) {
        int64_t columns = layout->blocks[b] * LANES, n = layout->budgets[b];
        int64_t needed = is_small(num_answers, n) ? n * columns : (num_answers + 1) * (columns + LANES);
        size = needed > size ? needed : size;
    }
    return (Desk){calloc(wide, 8), calloc(wide, 8), calloc(wide, 8), calloc(size, 8),
                  calloc(wide, 8), calloc(wide, 8), calloc(wide, 8), calloc(wide, 8)};
}

static void free_desk(Desk desk) {
    free(desk.order), free(desk.answer), free(desk.weight), free(desk.sums);
    free(desk.highest), free(desk.tied), free(desk.right), free(desk.share);
}

static void spread(const Desk *desk, const int64_t *row, int64_t draws, const int64_t *answer, const double *weight) {
    for (int64_t d = 0; d < draws; d++) {
        int64_t at = row[d] * LANES;
        for (int64_t t = 0; t < LANES; t++) {
            int64_t solution = desk->order[t * draws + d];
            desk->answer[at + t] = answer[solution];
            desk->weight[at + t] = weight[solution];
        }
    }
}

static bool adds_exactly(const double *weight, int64_t num, int64_t most) {
    double highest = 0.0;
    int exponent;
    for (int64_t i = 0; i < num; i++) highest = weight[i] > highest ? weight[i] : highest;
    frexp(highest * (double)most, &exponent);
    double unit = ldexp(1.0, exponent - 53);
    bool exact = true;
    for (int64_t i = 0; i < num; i++) exact &= weight[i] / unit == floor(weight[i] / unit);
    return exact;
}

static int64_t vote_of_two(const Desk *desk, const Votes *votes, int64_t second, int64_t columns) {
    const int64_t *restrict one = desk->answer, *restrict other = desk->answer + second * LANES;
    const double *restrict weight = desk->weight, *restrict other_weight = desk->weight + second * LANES;
    double *restrict share = desk->share;
    int64_t num = votes->num, num_correct = votes->num_correct, mixed = 0;
    for (int64_t c = 0; c < columns; c++) {
        double lead = (one[c] < num ? weight[c] : -1.0) - (other[c] < num ? other_weight[c] : -1.0);
        double first_right = one[c] < num_correct ? 1.0 : 0.0, second_right = other[c] < num_correct ? 1.0 : 0.0;
        double tie = 0.5 * (first_right + second_right);
        double worth = lead > 0.0 ? first_right : lead < 0.0 ? second_right : tie;
        share[c] = one[c] == other[c] ? first_right : worth;
        mixed += share[c] == 0.5;
    }
    return mixed;
}

static int64_t vote_of_four(const Desk *desk, const Votes *votes, const int64_t *row, int64_t columns) {
    const int64_t *restrict answer_0 = desk->answer + row[0] * LANES, *restrict answer_1 = desk->answer + row[1] * LANES;
    const int64_t *restrict answer_2 = desk->answer + row[2] * LANES, *restrict answer_3 = desk->answer + row[3] * LANES;
    const double *restrict weight_0 = desk->weight + row[0] * LANES, *restrict weight_1 = desk->weight + row[1] * LANES;
    const double *restrict weight_2 = desk->weight + row[2] * LANES, *restrict weight_3 = desk->weight + row[3] * LANES;
    double *restrict share = desk->share;
    int64_t num = votes->num, num_correct = votes->num_correct, mixed = 0;
    for (int64_t c = 0; c < columns; c++) {
        int64_t a = answer_0[c], b = answer_1[c], e = answer_2[c], f = answer_3[c];
        double v = weight_0[c], w = weight_1[c], x = weight_2[c], y = weight_3[c];
        bool ab = a == b, ae = a == e, af = a == f, be = b == e, bf = b == f, ef = e == f;
        double sum_a = v + (ab ? w : 0.0) + (ae ? x : 0.0) + (af ? y : 0.0);
        double sum_b = w + (be ? x : 0.0) + (bf ? y : 0.0);
        double sum_e = x + (ef ? y : 0.0);
        sum_a = a < num ? sum_a : -1.0;
        sum_b = (b < num) & !ab ? sum_b : -1.0;
        sum_e = (e < num) & !ae & !be ? sum_e : -1.0;
        double sum_f = (f < num) & !af & !bf & !ef ? y : -1.0;
        double ahead = sum_a > sum_b ? sum_a : sum_b, behind = sum_e > sum_f ? sum_e : sum_f;
        double top = ahead > behind ? ahead : behind;
        bool lead_a = sum_a == top, lead_b = sum_b == top, lead_e = sum_e == top, lead_f = sum_f == top;
        double tied = (lead_a ? 1.0 : 0.0) + (lead_b ? 1.0 : 0.0) + (lead_e ? 1.0 : 0.0) + (lead_f ? 1.0 : 0.0);
        double right = (lead_a & (a < num_correct) ? 1.0 : 0.0) + (lead_b & (b < num_correct) ? 1.0 : 0.0) +
                       (lead_e & (e < num_correct) ? 1.0 : 0.0) + (lead_f & (f < num_correct) ? 1.0 : 0.0);
        share[c] = right / tied;
        mixed += (right > 0.0) & (right < tied);
    }
    return mixed;
}

static double share_of_tied(const Desk *desk, const Votes *votes, const int64_t *row, int64_t n, int64_t columns, int64_t c) {
    int64_t tied = 0, right = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t own = desk->answer[row[i] * LANES + c];
        bool again = false;
        for (int64_t k = 0; k < i; k++) again |= desk->answer[row[k] * LANES + c] == own;
        if (desk->sums[i * columns + c] == desk->highest[c] && !again) {
            tied++;
            right += own < votes->num_correct;
        }
    }
    return (double)right / (double)tied;
}

static int64_t vote_of_few(
    const Desk *desk, const Votes *votes, const int64_t *row, int64_t n, int64_t columns, bool counted
) {
    double *restrict highest = desk->highest, *restrict tied = desk->tied, *restrict right = desk->right;
    double *restrict share = desk->share;
    for (int64_t c = 0; c < columns; c++) highest[c] = -1.0, tied[c] = 0.0, right[c] = 0.0;
    for (int64_t i = 0; i < n; i++) {
        double *restrict total = desk->sums + i * columns;
        const int64_t *restrict own = desk->answer + row[i] * LANES;
        memset(total, 0, columns * sizeof(double));
        for (int64_t k = 0; k < n; k++) {
            const int64_t *restrict other = desk->answer + row[k] * LANES;
            const double *restrict weight = desk->weight + row[k] * LANES;
            for (int64_t c = 0; c < columns; c++) total[c] += other[c] == own[c] ? weight[c] : 0.0;
        }
        for (int64_t c = 0; c < columns; c++) {
            total[c] = own[c] < votes->num ? total[c] : -1.0;
            highest[c] = total[c] > highest[c] ? total[c] : highest[c];
        }
    }
    for (int64_t i = 0; i < n; i++) {
        const double *restrict total = desk->sums + i * columns;
        const int64_t *restrict own = desk->answer + row[i] * LANES;
        for (int64_t c = 0; c < columns; c++) {
            double leads = total[c] == highest[c] ? 1.0 : 0.0;
            tied[c] += leads;
            right[c] += own[c] < votes->num_correct ? leads : 0.0;
        }
    }
    int64_t mixed = 0;
    for (int64_t c = 0; c < columns; c++) {
        share[c] = right[c] > 0.0 ? 1.0 : 0.0;
        mixed += (0.0 < right[c]) & (right[c] < tied[c]);
    }
    if (mixed)
        for (int64_t c = 0; c < columns; c++) share[c] = right[c] / (tied[c] > 1.0 ? tied[c] : 1.0);
    if (mixed && !counted)
        for (int64_t c = 0; c < columns; c++)
            if (0.0 < right[c] && right[c] < tied[c]) share[c] = share_of_tied(desk, votes, row, n, columns, c);
    return mixed;
}

static void add_up(
    const Desk *desk, const Votes *votes, const int64_t *row, int64_t n, int64_t columns, int64_t stride
) {
    double *restrict sums = desk->sums;
    for (int64_t c = 0; c < (votes->num + 1) * stride; c++) sums[c] = -1.0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t *restrict answer = desk->answer + row[i] * LANES;
        const double *restrict weight = desk->weight + row[i] * LANES;
        for (int64_t c = 0; c < columns; c++) {
            double *cell = sums + answer[c] * stride + c;
            *cell = (*cell > 0.0 ? *cell : 0.0) + weight[c];
        }
    }
}

static void merge(const Desk *desk, const Votes *votes, int64_t parts, int64_t columns, int64_t stride) {
    for (int64_t a = 0; a < votes->num; a++) {
        double *restrict total = desk->sums + a * stride;
        for (int64_t k = 1; k < parts; k++) {
            const double *restrict more = desk->sums + a * stride + k * columns;
            for (int64_t c = 0; c < columns; c++) {
                double larger = total[c] > more[c] ? total[c] : more[c], both = total[c] + more[c];
                total[c] = both > larger ? both : larger;
            }
        }
    }
}

static int64_t vote_of_many(const Desk *desk, const Votes *votes, int64_t columns, int64_t stride) {
    double *restrict right = desk->highest, *restrict wrong = desk->tied, *restrict share = desk->share;
    for (int64_t c = 0; c < columns; c++) right[c] = -1.0, wrong[c] = -1.0;
    for (int64_t a = 0; a < votes->num; a++) {
        const double *restrict total = desk->sums + a * stride;
        double *restrict top = a < votes->num_correct ? right : wrong;
        for (int64_t c = 0; c < columns; c++) top[c] = total[c] > top[c] ? total[c] : top[c];
    }
    int64_t mixed = 0;
    for (int64_t c = 0; c < columns; c++) {
        share[c] = right[c] > wrong[c] ? 1.0 : 0.0;
        mixed += (right[c] == wrong[c]) & (right[c] >= 0.0);
    }
    if (mixed) {
        double *restrict leaders = desk->right;
        for (int64_t c = 0; c < columns; c++) leaders[c] = share[c] = 0.0;
        for (int64_t a = 0; a < votes->num; a++) {
            const double *restrict total = desk->sums + a * stride;
            double counts = a < votes->num_correct ? 1.0 : 0.0;
            for (int64_t c = 0; c < columns; c++) {
                double leads = total[c] == (right[c] > wrong[c] ? right[c] : wrong[c]) ? 1.0 : 0.0;
                leaders[c] += leads;
                share[c] += leads * counts;
            }
        }
        for (int64_t c = 0; c < columns; c++)
            share[c] = (right[c] > wrong[c] ? right[c] : wrong[c]) >= 0.0 ? share[c] / leaders[c] : 0.0;
    }
    return mixed;
}

static void average(const Desk *desk, const int64_t *place, int64_t blocks, int64_t mixed, double *total, double *squares) {
    double *share = desk->share;
    if (mixed == 0)
        for (int64_t width = blocks; width > 1; width -= width / 2) {
            int64_t half = width / 2;
            double *restrict low = share, *restrict high = share + (width - half) * LANES;
            for (int64_t c = 0; c < half * LANES; c++) low[c] += high[c];
        }
    for (int64_t t = 0; t < LANES; t++) total[t] = squares[t] = 0.0;
    for (int64_t j = 0; j < (mixed ? blocks : 1); j++) {
        const double *value = share + place[j] * LANES;
        for (int64_t t = 0; t < LANES; t++) {
            total[t] += value[t];
            squares[t] += mixed ? value[t] * value[t] : value[t];
        }
    }
}

static void block_values(
    const Layout *layout, const Desk *desk, const Votes *votes, const double *weight, bool counted, bool additive,
    double *value, double *product
) {
    double total[LANES], squares[LANES];
    bool summed = false;
    int64_t stride = 0;
    for (int64_t b = 0; b < layout->num && votes->num_correct > 0; b++) {
        int64_t n = layout->budgets[b], blocks = layout->blocks[b], columns = blocks * LANES, mixed;
        const int64_t *row = layout->row + layout->first[b] * layout->draws, *place = layout->place + b * layout->draws;
        if (layout->first[b] == b) {
            spread(desk, row, layout->draws, votes->answer, weight);
            summed = false;
        }
        if (n == 1) {
            for (int64_t t = 0; t < LANES; t++) total[t] = squares[t] = (double)votes->num_right;
        } else {
            if (n == 2) {
                mixed = vote_of_two(desk, votes, row[1], columns);
            } else if (n == 4) {
                mixed = vote_of_four(desk, votes, row, columns);
            } else if (is_small(votes->num, n)) {
                mixed = vote_of_few(desk, votes, row, n, columns, counted);
            } else {
                if (summed && additive) {
                    merge(desk, votes, n / layout->budgets[b - 1], columns, stride);
                } else {
                    stride = columns + LANES;
                    add_up(desk, votes, row, n, columns, stride);
                    summed = true;
                }
                mixed = vote_of_many(desk, votes, columns, stride);
            }
            average(desk, place, blocks, mixed, total, squares);
        }
        for (int64_t t = 0; t < LANES; t++) {
            value[b * LANES + t] = total[t] / (double)blocks;
            if (blocks > 1)
                product[b * LANES + t] = (total[t] * total[t] - squares[t]) / (double)(blocks * (blocks - 1));
        }
    }
}

static Votes votes_of(const Trees *trees, const Solutions *found, int64_t q, int64_t pool) {
    int64_t origin = trees->answer_start[q], num_answers = trees->answer_start[q + 1] - origin;
    int64_t *number = malloc((num_answers + 1) * 8);
    Votes votes = {0, 0, malloc(pool * 8), 0};
    const int32_t *row = found->row + found->start[q];
    for (int64_t a = 0; a < num_answers; a++) number[a] = -1;
    for (int correct = 1; correct >= 0; correct--) {
        for (int64_t i = 0; i < pool; i++) {
            int64_t a = trees->answer[row[i]];
            if (a >= 0 && trees->answer_correct[a] == correct && number[a - origin] < 0) number[a - origin] = votes.num++;
        }
        if (correct) votes.num_correct = votes.num;
    }
    for (int64_t i = 0; i < pool; i++) {
        int64_t a = trees->answer[row[i]];
        votes.answer[i] = a >= 0 ? number[a - origin] : votes.num;
        votes.num_right += votes.answer[i] < votes.num_correct;
    }
    free(number);
    return votes;
}

static void shuffle(uint64_t key, int64_t *order, int64_t pool) {
    for (int64_t i = 0; i < pool; i++) order[i] = i;
    for (int64_t i = 0; i < pool; i++) {
        uint64_t bits = mix(key, PERMUTE + i) >> 32;
        int64_t j = i + (int64_t)((bits * (uint64_t)(pool - i)) >> 32), taken = order[i];
        order[i] = order[j];
        order[j] = taken;
    }
}

static void count_values(
    const double *value, const double *product, int64_t within, int64_t lanes, int64_t row, const Tally *tally
) {
    for (int64_t b = 0; b < within; b++) {
        int64_t num = tally->supported[row + b];
        double first = tally->first[row + b], shift = tally->shift[row + b], squares = tally->squares[row + b];
        double products = tally->products[row + b];
        for (int64_t t = 0; t < lanes; t++, num++) {
            first = num > 0 ? first : value[b * LANES + t];
            double difference = value[b * LANES + t] - first;
            shift += difference;
            squares += difference * difference;
            products += product[b * LANES + t];
        }
        tally->first[row + b] = first;
        tally->shift[row + b] = shift;
        tally->squares[row + b] = squares;
        tally->products[row + b] = products;
    }
}

static void count_costs(
    const int64_t *budgets, const Lengths *lengths, const int64_t *order, int64_t within, int64_t lanes, int64_t row,
    const Tally *tally
) {
    int64_t pool = lengths->pool;
    for (int64_t t = 0; t < lanes; t++) {
        int64_t tokens = 0, longest = 0, i = 0;
        for (int64_t b = 0; b < within; b++) {
            if (budgets[b] == pool) {
                tokens = lengths->total, longest = lengths->longest;
            } else {
                for (; i < budgets[b]; i++) {
                    int64_t length = lengths->tokens[order[t * pool + i]];
                    tokens += length;
                    longest = length > longest ? length : longest;
                }
            }
            tally->supported[row + b] += 1;
            tally->generations[row + b] += budgets[b];
            tally->tokens[row + b] += tokens;
            tally->critical[row + b] += longest;
            tally->calls[row + b] += budgets[b];
            tally->paired[row + b] += pool >= 2 * budgets[b];
        }
    }
}

static void vote_question(
    const Trees *trees, const float *score, bool counted, int64_t q, const int64_t *budgets, int64_t num_budgets,
    int64_t trials, uint64_t seed, const Solutions *found, const Tally *tally
) {
    int64_t origin = found->start[q], pool = found->start[q + 1] - origin, within = 0;
    Lengths lengths = {found->tokens + origin, pool, 0, 0};
    while (within < num_budgets && budgets[within] <= pool) within++;
    for (int64_t b = within; b < num_budgets; b++) tally->exhausted[q * num_budgets + b] += trials;
    if (within == 0) return;
    Layout layout = lay_out(budgets, within, pool);
    Votes votes = votes_of(trees, found, q, pool);
    double *weight = calloc(pool, 8), *value = calloc(within * LANES, 8), *product = calloc(within * LANES, 8);
    for (int64_t i = 0; i < pool; i++) {
        lengths.total += lengths.tokens[i];
        lengths.longest = lengths.tokens[i] > lengths.longest ? lengths.tokens[i] : lengths.longest;
    }
    for (int64_t i = 0; i < pool; i++)
        if (votes.answer[i] < votes.num) weight[i] = counted ? 1.0 : (double)score[found->row[origin + i]];
    bool additive = counted || adds_exactly(weight, pool, budgets[within - 1]);
    Desk desk = new_desk(&layout, votes.num);
    uint64_t key = mix(seed, trees->question_key[q]);
    for (int64_t begin = 0; begin < trials; begin += LANES) {
        int64_t lanes = trials - begin < LANES ? trials - begin : LANES;
        for (int64_t t = 0; t < lanes; t++) shuffle(mix(key, begin + t), desk.order + t * pool, pool);
        block_values(&layout, &desk, &votes, weight, counted, additive, value, product);
        count_values(value, product, within, lanes, q * num_budgets, tally);
        count_costs(budgets, &lengths, desk.order, within, lanes, q * num_budgets, tally);
    }
    free_layout(layout), free_desk(desk), free(votes.answer), free(weight), free(value), free(product);
}

// Replay every question of a forest whose solutions are all complete; votes count one each if `counted`, else `score`.
void votes(
    const Trees *trees, int64_t num_questions, const float *score, bool counted, const int64_t *budgets,
    int64_t num_budgets, int64_t trials, uint64_t seed, const Solutions *found, const Tally *tally
) {
    for (int64_t q = 0; q < num_questions; q++)
        vote_question(trees, score, counted, q, budgets, num_budgets, trials, seed, found, tally);
}
