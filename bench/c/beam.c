// Beam search that freezes what has ended, on imported runs: the twin of tts_sim/kernels/{beam,ranking}.py.
#include "common.h"

enum { MAX_ROUNDS = 40, NO_ANSWER = -1, FEW = 256, LANES = 32, TIE_BITS = 23 };
enum { SUPPORTED, EXHAUSTED, UNSCORED };

typedef struct {
    int32_t *restrict row, *restrict sender, *restrict draw;
    float *restrict score;
    uint64_t *restrict tie;
    int32_t *restrict above, *restrict place, *restrict brief, *restrict order;
} Candidates;

typedef struct {
    int32_t *restrict row;
    uint64_t *restrict key;
    int64_t *restrict tokens;
} Senders;

typedef struct {
    int64_t active, finished, tokens, longest;
    bool unscored;
} Round;

typedef struct {
    Candidates opening, now;
    Senders senders, following;
    Round *opened;
    int32_t *restrict early, *restrict finished;
    int64_t *restrict places, *restrict swapped, *restrict picked;
    double *restrict sums;
} Room;

typedef struct {
    int status;
    int64_t finished, generations, tokens, critical, calls, prefix;
} End;

static void *zeros(int64_t num, size_t size) { return calloc(num > 0 ? num : 1, size); }

static Candidates new_candidates(int64_t most) {
    int64_t size = most + LANES;
    return (Candidates){zeros(size, 4), zeros(size, 4), zeros(size, 4), zeros(size, 4), zeros(size, 8),
                        zeros(size, 4), zeros(size, 4), zeros(size, 4), zeros(size, 4)};
}

static void free_candidates(Candidates of) {
    free(of.row), free(of.sender), free(of.draw), free(of.score), free(of.tie);
    free(of.above), free(of.place), free(of.brief), free(of.order);
}

static Senders new_senders(int64_t most) { return (Senders){zeros(most, 4), zeros(most, 8), zeros(most, 8)}; }

static void free_senders(Senders of) { free(of.row), free(of.key), free(of.tokens); }

static inline uint64_t child_key(uint64_t key, int64_t draw) { return mix(key, (uint64_t)draw + 1); }

static inline uint64_t tie_key(const Candidates *of, int64_t i, const uint64_t *sender_key) {
    return mix(child_key(sender_key[of->sender[i]], of->draw[i]), TIE);
}

static bool rank_few(const Candidates *of, int64_t num, int64_t kept, const uint64_t *sender_key, bool known) {
    int64_t total = 0, stop = (num + LANES - 1) & -LANES;
    for (int64_t j = num; j < stop; j++) of->score[j] = -INFINITY;
    for (int64_t i = 0; i < num; i++) {
        float score = of->score[i];
        int32_t above = 0;
        for (int64_t j = 0; j < stop; j++) above += of->score[j] > score;
        of->above[i] = above;
        total += above;
    }
    if (total == num * (num - 1) / 2) {
        for (int64_t i = 0; i < num; i++) of->order[of->above[i]] = (int32_t)i;
        return true;
    }
    int64_t near = 0;
    for (int64_t i = 0; i < num; i++) {
        if (of->above[i] < kept) {
            if (!known) of->tie[i] = tie_key(of, i, sender_key);
            of->brief[near] = of->above[i] << TIE_BITS | (int32_t)(of->tie[i] >> (64 - TIE_BITS));
            of->place[near] = (int32_t)i;
            near++;
        }
    }
    total = 0, stop = (near + LANES - 1) & -LANES;
    for (int64_t j = near; j < stop; j++) of->brief[j] = INT32_MAX;
    for (int64_t i = 0; i < near; i++) {
        int32_t brief = of->brief[i], above = 0;
        for (int64_t j = 0; j < stop; j++) above += of->brief[j] < brief;
        total += above;
        of->order[above] = of->place[i];
    }
    return total == near * (near - 1) / 2;
}

static inline bool goes_before(const Candidates *of, int64_t i, int64_t j) {
    if (of->score[i] != of->score[j]) return of->score[i] > of->score[j];
    return of->tie[i] < of->tie[j];
}

static inline void swap(int32_t *order, int64_t i, int64_t j) {
    int32_t taken = order[i];
    order[i] = order[j];
    order[j] = taken;
}

static void rank_many(const Candidates *of, int64_t num, int64_t kept) {
    int32_t *order = of->order;
    for (int64_t i = 0; i < num; i++) order[i] = (int32_t)i;
    for (int64_t step = 0; step < num / 2 + kept; step++) {
        int64_t size = num, place = num / 2 - 1 - step;
        if (place < 0) {
            size = num - 1 - (step - num / 2);
            place = 0;
            swap(order, 0, size);
        }
        while (2 * place + 1 < size) {
            int64_t child = 2 * place + 1;
            if (child + 1 < size && goes_before(of, order[child + 1], order[child])) child++;
            if (!goes_before(of, order[child], order[place])) break;
            swap(order, place, child);
            place = child;
        }
    }
    for (int64_t i = 0; i < num / 2; i++) swap(order, i, num - 1 - i);
}

static void rank(const Candidates *of, int64_t num, int64_t kept, const uint64_t *sender_key, bool known) {
    if (num > FEW || !rank_few(of, num, kept, sender_key, known)) {
        if (!known)
            for (int64_t i = 0; i < num; i++) of->tie[i] = tie_key(of, i, sender_key);
        rank_many(of, num, kept);
    }
}

static inline bool draw_children(
    const Trees *trees, int64_t v, uint64_t key, int64_t count, bool shuffled, const Room *room, const Candidates *to,
    int64_t at
) {
    int64_t start = trees->child_start[v], size = trees->child_stop[v] - start;
    if (size < count) return false;
    bool permuted = count < size || shuffled;
    if (permuted) {
        int64_t *places = room->places;
        for (int64_t i = 0; i < count; i++) {
            uint64_t bits = mix(key, PERMUTE + i) >> 32;
            int64_t j = i + (int64_t)((bits * (uint64_t)(size - i)) >> 32);
            room->picked[i] = places[j];
            places[j] = places[i];
            room->swapped[i] = j;
        }
        for (int64_t i = 0; i < count; i++) places[room->swapped[i]] = room->swapped[i];
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t draw = permuted ? room->picked[i] : i;
        to->row[at + i] = (int32_t)(start + draw);
        to->draw[at + i] = (int32_t)draw;
    }
    return true;
}

static inline Round sort_out(
    const Trees *trees, const float *score, const Candidates *of, int64_t start, int64_t stop, int32_t *finished, Round so_far
) {
    for (int64_t i = start; i < stop; i++) {
        int32_t child = of->row[i], sender = of->sender[i], draw = of->draw[i];
        int64_t length = trees->tokens[child];
        so_far.tokens += length;
        so_far.longest = length > so_far.longest ? length : so_far.longest;
        bool goes = trees->answer[child] == NO_ANSWER;
        float value = score[child];
        so_far.unscored |= goes & (value != value);
        of->row[so_far.active] = child;
        of->sender[so_far.active] = sender;
        of->draw[so_far.active] = draw;
        of->score[so_far.active] = value == value ? value : -INFINITY;
        finished[so_far.finished] = child;
        so_far.active += goes;
        so_far.finished += !goes;
    }
    return so_far;
}

static bool open_trial(
    const Trees *trees, const float *score, int64_t q, uint64_t key, const int64_t *budgets, int64_t b, int64_t stop,
    bool in_order, const Room *room
) {
    const Candidates *opening = &room->opening;
    room->senders.row[0] = (int32_t)trees->question_start[q];
    room->senders.key[0] = key;
    room->senders.tokens[0] = 0;
    if (!draw_children(trees, trees->question_start[q], key, budgets[stop - 1], !in_order, room, opening, 0)) return false;
    Round found = {0};
    int64_t done = 0;
    for (int64_t c = b; c < stop; c++) {
        room->opened[c] = found = sort_out(trees, score, opening, done, budgets[c], room->early, found);
        done = budgets[c];
    }
    for (int64_t i = 0; i < found.active; i++) opening->tie[i] = tie_key(opening, i, room->senders.key);
    rank(opening, found.active, found.active, room->senders.key, true);
    return true;
}

static End beam_trial(
    const Trees *trees, const float *score, int64_t q, uint64_t key, int64_t n, int64_t width, int64_t b, const Room *room
) {
    const Candidates *of = &room->opening;
    const Senders *senders = &room->senders, *following = &room->following;
    senders->row[0] = (int32_t)trees->question_start[q];
    senders->key[0] = key;
    senders->tokens[0] = 0;
    Round found = room->opened[b];
    for (int64_t i = 0; i < found.finished; i++) room->finished[i] = room->early[i];
    int64_t sampled = n, calls = n, prefix = 0, generations = 0, critical = 0, num_senders = 0, rest = 0;
    for (int depth = 0; depth < MAX_ROUNDS; depth++) {
        if (depth > 0) {
            of = &room->now;
            int64_t num = 0;
            sampled = 0;
            for (int64_t p = 0; p < num_senders; p++) {
                int64_t count = width < rest ? width : rest;
                rest -= count;
                if (!draw_children(trees, senders->row[p], senders->key[p], count, false, room, of, num))
                    return (End){.status = EXHAUSTED};
                for (int64_t i = 0; i < count; i++) of->sender[num + i] = (int32_t)p;
                sampled += count;
                prefix += count * senders->tokens[p];
                num += count;
            }
            calls += sampled;
            found = sort_out(trees, score, of, 0, num, room->finished, (Round){0, found.finished, found.tokens, 0, false});
        }
        generations += sampled - found.active;
        critical += found.longest;
        if (found.active == 0 || depth == MAX_ROUNDS - 1) break;
        if (found.unscored) return (End){.status = UNSCORED};
        num_senders = (found.active + width - 1) / width;
        if (depth > 0) {
            rank(of, found.active, num_senders, senders->key, false);
        } else {
            for (int64_t picked = 0, place = 0; picked < num_senders; place++) {
                room->now.order[picked] = of->order[place];
                picked += of->order[place] < found.active;
            }
        }
        rest = found.active;
        for (int64_t p = 0; p < num_senders; p++) {
            int64_t i = room->now.order[p], row = of->row[i], sender = of->sender[i];
            following->row[p] = (int32_t)row;
            following->key[p] = child_key(senders->key[sender], of->draw[i]);
            following->tokens[p] = senders->tokens[sender] + trees->tokens[row];
        }
        memcpy(senders->row, following->row, num_senders * sizeof(int32_t));
        memcpy(senders->key, following->key, num_senders * sizeof(uint64_t));
        memcpy(senders->tokens, following->tokens, num_senders * sizeof(int64_t));
    }
    return (End){SUPPORTED, found.finished, generations + found.active, found.tokens, critical, calls, prefix};
}

static double vote(
    const Trees *trees, const float *weights, bool counted, int64_t q, const int32_t *rows, int64_t num, double *sums
) {
    int64_t origin = trees->answer_start[q], tied = 0, correct = 0;
    double highest = -1.0;
    for (int64_t i = 0; i < num; i++)
        if (trees->answer[rows[i]] >= 0) sums[trees->answer[rows[i]] - origin] = -1.0;
    for (int64_t i = 0; i < num; i++) {
        if (trees->answer[rows[i]] < 0) continue;
        int64_t a = trees->answer[rows[i]] - origin;
        double weight = counted ? 1.0 : (double)weights[rows[i]];
        if (weight != weight) return NAN;
        double before = sums[a];
        sums[a] = (before > 0.0 ? before : 0.0) + weight;
        if (sums[a] > highest) {
            highest = sums[a], tied = 1, correct = trees->answer_correct[origin + a];
        } else if (sums[a] == highest && before != highest) {
            tied++;
            correct += trees->answer_correct[origin + a];
        }
    }
    return tied ? (double)correct / (double)tied : 0.0;
}

static void beam_question(
    const Trees *trees, const float *score, const float *weights, int64_t kind, int64_t q, const int64_t *budgets,
    const int64_t *widths, int64_t num_budgets, int64_t trials, uint64_t seed, const Room *room, const Tally *tally
) {
    uint64_t question_key = mix(seed, trees->question_key[q]);
    int64_t prompt = trees->question_start[q], size = trees->child_stop[prompt] - trees->child_start[prompt];
    int64_t within = 0, together = 0;
    for (int64_t b = 0; b < num_budgets; b++) {
        within += budgets[b] <= size;
        together += budgets[b] < size;
    }
    for (int64_t b = within; b < num_budgets; b++) tally->exhausted[q * num_budgets + b] += trials;
    for (int64_t t = 0; t < trials; t++) {
        uint64_t key = mix(question_key, t);
        for (int64_t b = 0; b < within; b++) {
            int64_t row = q * num_budgets + b;
            if (b == 0 || b == together)
                open_trial(trees, score, q, key, budgets, b, b == together ? within : together, b == together, room);
            End end = beam_trial(trees, score, q, key, budgets[b], widths[b], b, room);
            if (end.status == EXHAUSTED) {
                tally->exhausted[row]++;
                continue;
            }
            double value = NAN;
            if (end.status == SUPPORTED)
                value = vote(trees, weights, kind == MAJORITY, q, room->finished, end.finished, room->sums);
            if (value != value) {
                tally->status[q] = 1;
                return;
            }
            note(tally, row, row, value);
            spend(tally, row, end.generations, end.tokens, end.critical, end.calls, end.prefix);
        }
    }
}

// Replay every question; `kind` is MAJORITY or WEIGHTED, `most` the largest budget within a pool, `largest` the largest
// number of children.
void beam(
    const Trees *trees, int64_t num_questions, const float *score, const float *weights, int64_t kind,
    const int64_t *budgets, const int64_t *widths, int64_t num_budgets, int64_t trials, uint64_t seed, int64_t most,
    int64_t largest, const Tally *tally
) {
    int64_t answers = 0;
    for (int64_t q = 0; q < num_questions; q++) {
        int64_t num = trees->answer_start[q + 1] - trees->answer_start[q];
        answers = num > answers ? num : answers;
    }
    int64_t wide = most > largest ? most : largest;
    Room room = {
        new_candidates(most), new_candidates(most), new_senders(most), new_senders(most),
        zeros(num_budgets, sizeof(Round)), zeros(most + 1, 4), zeros(most + 1, 4),
        zeros(wide, 8), zeros(wide, 8), zeros(wide, 8), zeros(answers, 8),
    };
    for (int64_t i = 0; i < largest; i++) room.places[i] = i;
    for (int64_t q = 0; q < num_questions; q++)
        beam_question(trees, score, weights, kind, q, budgets, widths, num_budgets, trials, seed, &room, tally);
    free_candidates(room.opening), free_candidates(room.now), free_senders(room.senders), free_senders(room.following);
    free(room.opened), free(room.early), free(room.finished), free(room.places), free(room.swapped), free(room.picked);
    free(room.sums);
}
