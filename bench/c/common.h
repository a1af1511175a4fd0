// Columns that kernels see, the random stream, and the bookkeeping of trials: the counterparts of tts_sim/arrays.py and
// of tts_sim/kernels/{draws,select}.py. Bundles are structs of pointers in the order of the Python fields.
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MAJORITY, BEST, WEIGHTED, ORACLE };

typedef struct {
    const int64_t *question_start;
    const uint64_t *question_key;
    const int32_t *parent, *child_start, *child_stop, *tokens, *answer, *draw;
    const int64_t *answer_start;
    const uint8_t *answer_correct;
} Trees;

typedef struct {
    const int64_t *start;
    const int8_t *state;
    const int32_t *row, *draw;
    const int64_t *tokens;
} Solutions;

typedef struct {
    int64_t *supported, *missing, *exhausted, *generations, *tokens, *critical, *calls, *prefix;
    double *first, *shift, *squares, *products;
    int64_t *paired, *borrowed;
    int8_t *status;
    int64_t *wanted;
    int32_t *wanted_row, *wanted_draw;
} Tally;

static const uint64_t PERMUTE = 1ull << 32, TIE = 1ull << 33;

static inline uint64_t mix(uint64_t key, uint64_t counter) {
    uint64_t z = key + 0x9E3779B97F4A7C15ull * (counter + 1);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

// `cell` is (question * budgets + budget) * selections + selection, `row` the same without the selections.
static inline void note(const Tally *tally, int64_t row, int64_t cell, double value) {
    double first = tally->supported[row] > 0 ? tally->first[cell] : value;
    tally->first[cell] = first;
    tally->shift[cell] += value - first;
    tally->squares[cell] += (value - first) * (value - first);
}

static inline void spend(
    const Tally *tally, int64_t row, int64_t generations, int64_t tokens, int64_t critical, int64_t calls, int64_t prefix
) {
    tally->supported[row] += 1;
    tally->generations[row] += generations;
    tally->tokens[row] += tokens;
    tally->critical[row] += critical;
    tally->calls[row] += calls;
    tally->prefix[row] += prefix;
}
