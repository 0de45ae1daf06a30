/* Vectors of doubles: neurons, or columns, are handled LANES at a time, one in each lane. */
#include <stdint.h>
#include <string.h>

/* 4 or 8, by default as wide as the processor's registers: wider vectors would be taken apart through memory. */
#ifndef LANES
#ifdef __AVX512F__
#define LANES 8
#else
#define LANES 4
#endif
#endif

typedef double lanes __attribute__((vector_size(8 * LANES)));

static inline lanes spread(double x)
{
    return (lanes){0} + x;
}

/* LANES values from x on, of which `count` exist (also none); the others are `beyond`. */
static inline lanes load(const double *x, int64_t count, double beyond)
{
    if (count >= LANES) {
        lanes value;
        memcpy(&value, x, sizeof value);
        return value;
    }
    lanes value = spread(beyond);
    if (count > 0)
        memcpy(&value, x, (size_t)count * sizeof *x);
    return value;
}

static inline void store(double *x, lanes value, int64_t count)
{
    memcpy(x, &value, count >= LANES ? sizeof value : (size_t)count * sizeof *x);
}

static inline double sum(lanes value)
{
    double total = 0;
    for (int l = 0; l < LANES; l++)
        total += value[l];
    return total;
}
