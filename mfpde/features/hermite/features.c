/* Features of neurons: moments of a cloud of neurons (a, v, r), and the velocity field that they cause.
 *
 * With S = |v|^2 + r^2, mu_i = v^alpha r^{2j} and the table G_k(S):
 *
 *   moments     m_i = N_i sum_n w_n A_n mu_i(v_n, r_n) G_{k_i}(S_n)
 *   field       Psi       = sum_k G_k P_k
 *               dPsi/dv_q = sum_k G_k dP_k/dv_q + v_q T,    dPsi/dr = sum_k G_k dP_k/dr + r T,
 *               T = sum_k sqrt((k+1)(k+2)) G_{k+2} P_k,     P_k = sum_{k_i = k} e_i mu_i
 *   velocity    da/dt = -xi_a Psi,   dv/dt = -xi_w a grad_v Psi,   dr/dt = -xi_w a dPsi/dr
 *   biases      G_k(S, b), and dPsi/db = sum_k sqrt(k+1) G_{k+1} P_k,   d^2 Psi / db^2 = T,   db/dt = -xi_b a dPsi/db
 *   divergence  -xi_w a (Laplace_v Psi + d^2 Psi / dr^2), where, P_k being homogeneous of degree k in (v, r),
 *               Laplace (G_k P_k) = G_k Laplace P_k + (2 k + P + 1) c_k G_{k+2} P_k + S c_k c_{k+2} G_{k+4} P_k,
 *               c_k = sqrt((k+1)(k+2));   with biases also -xi_b a T
 *
 * Macros: P (dimension of V), BIASES (whether neurons have biases: 0 or 1).
 */
#include "lanes.h"
#include <math.h>

/* The table's geometry, as in table.py: 2^BITS intervals an octave, polynomials of TERMS coefficients. */
#define BITS 4
#define TERMS 8
#define BIAS 1023 /* of a double's exponent */
#define MANTISSA 52

typedef double quad __attribute__((vector_size(32), aligned(8)));

typedef struct {
    const double *coefficients; /* (intervals, TERMS, stride) */
    int64_t intervals;
    int32_t exponent; /* interval 0 is [0, 2^exponent) */
    int32_t stride;   /* a multiple of 4, at least n_k */
    int32_t n_k;      /* functions k = 0..n_k - 1 */
    /* With biases, coefficients are (tiles, length): S_0, b_0, g_0, g_1, ..., see tiles.h. */
    int64_t length;
    const double *scale; /* 1 / sqrt(k!) (stride) */
    double least;        /* S is raised to this */
} table_t;

typedef struct {
    int32_t count, degree;          /* modes, and K */
    const int32_t *parent, *factor; /* (count) */
    const int32_t *first;           /* (K + 2): modes of degree k are first[k]..first[k + 1] - 1 */
    const double *normalization;    /* (count) */
} modes_t;

typedef struct {
    int64_t slices, nodes;
    int64_t stride;            /* of the weights from slice to slice: 0 if the slices share them */
    const double *weight;      /* (nodes) or (slices, nodes) */
    const double *a, *v, *r;   /* (slices, nodes), (slices, P, nodes), (slices, nodes) */
    const double *b;           /* with biases, (slices, nodes) */
    const int32_t *tile;       /* with biases, number of each neuron's (slices, nodes) */
} cloud_t;

/* From one quad a lane to one vector a function, in registers: through memory, narrow stores would stall wide loads. */
static inline void transpose(const quad value[LANES], lanes out[4])
{
#if LANES == 8
    lanes row[4], pair[4];
    for (int l = 0; l < 4; l++)
        row[l] = __builtin_shufflevector(value[l], value[l + 4], 0, 1, 2, 3, 4, 5, 6, 7);
    for (int h = 0; h < 2; h++) {
        pair[2 * h] = __builtin_shufflevector(row[2 * h], row[2 * h + 1], 0, 8, 2, 10, 4, 12, 6, 14);
        pair[2 * h + 1] = __builtin_shufflevector(row[2 * h], row[2 * h + 1], 1, 9, 3, 11, 5, 13, 7, 15);
    }
    for (int h = 0; h < 2; h++) {
        out[h] = __builtin_shufflevector(pair[h], pair[h + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        out[2 + h] = __builtin_shufflevector(pair[h], pair[h + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
#else
    lanes low[2], high[2];
    for (int h = 0; h < 2; h++) {
        low[h] = __builtin_shufflevector(value[2 * h], value[2 * h + 1], 0, 4, 2, 6);
        high[h] = __builtin_shufflevector(value[2 * h], value[2 * h + 1], 1, 5, 3, 7);
    }
    out[0] = __builtin_shufflevector(low[0], low[1], 0, 1, 4, 5);
    out[1] = __builtin_shufflevector(high[0], high[1], 0, 1, 4, 5);
    out[2] = __builtin_shufflevector(low[0], low[1], 2, 3, 6, 7);
    out[3] = __builtin_shufflevector(high[0], high[1], 2, 3, 6, 7);
#endif
}

/* G[k] = G_k(S).  The top BITS mantissa bits and the exponent of S are the number of its interval. */
static inline void look_up(const table_t *table, lanes S, lanes *G)
{
    const int64_t base = ((int64_t)(BIAS + table->exponent) << BITS) - 1;
    const int quads = table->stride / 4, used = (table->n_k + 3) / 4;
    const quad *row[LANES];
    double x[LANES];
    for (int l = 0; l < LANES; l++) {
        double s = S[l], left, scale;
        uint64_t bits, corner, inverse;
        memcpy(&bits, &s, 8);
        int64_t i = (int64_t)(bits >> (MANTISSA - BITS)) - base;
        if (i > 0) {
            i = i < table->intervals ? i : table->intervals - 1;
            corner = bits >> (MANTISSA - BITS) << (MANTISSA - BITS);
            inverse = (2 * BIAS + BITS + 1 - (bits >> MANTISSA)) << MANTISSA; /* 2 / width */
            memcpy(&left, &corner, 8);
            memcpy(&scale, &inverse, 8);
        } else {
            i = 0;
            left = 0;
            inverse = (uint64_t)(BIAS + 1 - table->exponent) << MANTISSA;
            memcpy(&scale, &inverse, 8);
        }
        x[l] = (s - left) * scale - 1;
        row[l] = (const quad *)table->coefficients + i * TERMS * quads;
    }
    for (int k = 0; k < used; k++) {
        quad value[LANES];
        for (int l = 0; l < LANES; l++) {
            quad g = row[l][(TERMS - 1) * quads + k];
            for (int m = TERMS - 2; m >= 0; m--)
                g = g * x[l] + row[l][m * quads + k];
            value[l] = g;
        }
        transpose(value, G + 4 * k);
    }
}

/* A group of neurons fills WIDE vectors: their independent sums hide the latency of one another, and share what is loaded. */
#define WIDE 2
#define GROUP (WIDE * LANES)
#define EACH _Pragma("GCC unroll 2") for (int h = 0; h < WIDE; h++)

typedef struct {
    lanes v[P][WIDE], r[WIDE], S[WIDE], b[WIDE];
} place_t;

#if BIASES
#include "tiles.h"
#endif

/* What is computed of a group of neurons, in memory of the caller's: the stack would hold some thousand modes. */
typedef struct {
    lanes (*mu)[WIDE]; /* (count): monomials */
    lanes *total;      /* (count): sums over neurons */
    lanes *G;          /* (WIDE, stride): the table's values */
    lanes (*g)[WIDE];  /* (K + 1): those times w_n A_n */
} room_t;

/* Doubles that `work` must have, aligned as `lanes`. */
int64_t work_size(int64_t count, int64_t degree, int64_t stride)
{
    return LANES * ((WIDE + 1) * count + WIDE * (stride + degree + 1));
}

static inline room_t room_in(double *work, int64_t count, int64_t stride)
{
    lanes *mu = (lanes *)work, *total = mu + WIDE * count, *G = total + count, *g = G + WIDE * stride;
    return (room_t){(lanes(*)[WIDE])mu, total, G, (lanes(*)[WIDE])g};
}

static inline int64_t groups(const cloud_t *cloud)
{
    return (cloud->nodes + GROUP - 1) / GROUP;
}

/* The neurons from n on of slice s; beyond the last one, v = 0 and r = 1. */
static inline place_t position(const cloud_t *cloud, int64_t s, int64_t n)
{
    place_t at;
    EACH {
        const int64_t begin = n + h * LANES, rest = cloud->nodes - begin;
        at.r[h] = load(cloud->r + s * cloud->nodes + begin, rest, 1);
        at.S[h] = at.r[h] * at.r[h];
        for (int q = 0; q < P; q++) {
            at.v[q][h] = load(cloud->v + (s * P + q) * cloud->nodes + begin, rest, 0);
            at.S[h] += at.v[q][h] * at.v[q][h];
        }
#if BIASES
        at.b[h] = load(cloud->b + s * cloud->nodes + begin, rest, 0);
#endif
    }
    return at;
}

/* G[k] of vector h of the group of neurons from n on of slice s. */
static inline void functions_at(const table_t *table, const cloud_t *cloud, const place_t *at, int64_t s, int64_t n, int h, lanes *G)
{
#if BIASES
    const int64_t begin = n + h * LANES;
    look_up_tile(table, cloud, at->S[h], at->b[h], s * cloud->nodes + begin, cloud->nodes - begin, G);
#else
    look_up(table, at->S[h], G);
#endif
}

/* mu[i] = v^alpha r^{2j}; the factor p is r^2. */
static inline void monomials(const modes_t *modes, const place_t *at, lanes (*restrict mu)[WIDE])
{
    lanes x[P + 1][WIDE];
    EACH {
        for (int q = 0; q < P; q++)
            x[q][h] = at->v[q][h];
        x[P][h] = at->r[h] * at->r[h];
        mu[0][h] = spread(1);
    }
    for (int i = 1; i < modes->count; i++) {
        const lanes *parent = mu[modes->parent[i]], *factor = x[modes->factor[i]];
        EACH mu[i][h] = parent[h] * factor[h];
    }
}

/* by_slice[s][i] = sum_n w_n A_n phi_i of each slice; returns the largest S.  kept (slices, groups, WIDE, stride) keeps the
 * table's values for `velocities`, if it is not null.  work: room, see work_size. */
double moments(const table_t *table, const modes_t *modes, const cloud_t *cloud, double *by_slice, double *kept, double *work)
{
    lanes largest = {0};
    const int count = modes->count, K = modes->degree, stride = table->stride;
    const room_t room = room_in(work, count, stride);
    lanes (*restrict mu)[WIDE] = room.mu, *restrict total = room.total, (*restrict g)[WIDE] = room.g;
    for (int64_t s = 0; s < cloud->slices; s++) {
        memset(total, 0, count * sizeof *total);
        for (int64_t n = 0; n < cloud->nodes; n += GROUP) {
            const place_t at = position(cloud, s, n);
            lanes *G = kept ? (lanes *)kept + (s * groups(cloud) + n / GROUP) * WIDE * stride : room.G;
            EACH {
                const int64_t begin = n + h * LANES, rest = cloud->nodes - begin;
                const lanes w = load(cloud->weight + s * cloud->stride + begin, rest, 0)
                    * load(cloud->a + s * cloud->nodes + begin, rest, 0);
                for (int l = 0; l < LANES; l++)
                    largest[l] = at.S[h][l] > largest[l] ? at.S[h][l] : largest[l];
                functions_at(table, cloud, &at, s, n, h, G + h * stride);
                for (int k = 0; k <= K; k++)
                    g[k][h] = G[h * stride + k] * w;
            }
            monomials(modes, &at, mu);
            for (int k = 0; k <= K; k++) {
                lanes factor[WIDE];
                EACH factor[h] = g[k][h];
                for (int i = modes->first[k]; i < modes->first[k + 1]; i++) {
                    lanes change = mu[i][0] * factor[0];
                    for (int h = 1; h < WIDE; h++)
                        change += mu[i][h] * factor[h];
                    total[i] += change;
                }
            }
        }
        for (int i = 0; i < count; i++)
            by_slice[s * count + i] = modes->normalization[i] * sum(total[i]);
    }
    double most = 0;
    for (int l = 0; l < LANES; l++)
        most = largest[l] > most ? largest[l] : most;
    return most;
}

/* The velocity (da, dv, dr, db) of all neurons.  field is (modes, P + 2), see Modes.field_coefficients; curvature[k] =
 * sqrt((k+1)(k+2)).  da, dr and db may be null (not wanted); dv is (slices, P, nodes) with rows `dv_stride` apart.  kept: what
 * `moments` kept, or null. */
void velocities(const table_t *table, const modes_t *modes, const cloud_t *cloud, const double *field, const double *curvature,
                double xi_a, double xi_w, double xi_b, double *da, double *dv, int64_t dv_stride, double *dr, double *db,
                const double *kept, double *work)
{
    const int64_t nodes = cloud->nodes;
    const int K = modes->degree, stride = table->stride;
    const room_t room = room_in(work, modes->count, stride);
    lanes (*restrict mu)[WIDE] = room.mu;
#if BIASES
    double *restrict root = (double *)room.g;
    for (int k = 0; k <= K; k++)
        root[k] = sqrt(k + 1);
#endif
    for (int64_t s = 0; s < cloud->slices; s++) {
        for (int64_t n = 0; n < nodes; n += GROUP) {
            const place_t at = position(cloud, s, n);
            const lanes *G = kept ? (const lanes *)kept + (s * groups(cloud) + n / GROUP) * WIDE * stride : room.G;
            if (!kept)
                EACH functions_at(table, cloud, &at, s, n, h, room.G + h * stride);
            monomials(modes, &at, mu);

            lanes psi[WIDE], T[WIDE], by_v[P][WIDE], by_r[WIDE], by_b[WIDE];
            EACH {
                psi[h] = T[h] = by_r[h] = by_b[h] = spread(0);
                for (int q = 0; q < P; q++)
                    by_v[q][h] = spread(0);
            }
            for (int k = 0; k <= K; k++) {
                lanes part[P + 2][WIDE];
                memset(part, 0, sizeof part);
                for (int i = modes->first[k]; i < modes->first[k + 1]; i++)
                    for (int c = 0; c < P + 2; c++)
                        EACH part[c][h] += field[i * (P + 2) + c] * mu[i][h];
                EACH {
                    const lanes *Gk = G + h * stride + k;
                    psi[h] += Gk[0] * part[0][h];
                    T[h] += curvature[k] * Gk[2] * part[0][h];
                    for (int q = 0; q < P; q++)
                        by_v[q][h] += Gk[1] * part[1 + q][h];
                    by_r[h] += Gk[2] * part[P + 1][h];
#if BIASES
                    by_b[h] += root[k] * Gk[1] * part[0][h];
#endif
                }
            }
            for (int h = 0; h < WIDE && n + h * LANES < nodes; h++) {
                const int64_t begin = n + h * LANES, rest = nodes - begin;
                const lanes rate = -xi_w * load(cloud->a + s * nodes + begin, rest, 0);
                if (da)
                    store(da + s * nodes + begin, -xi_a * psi[h], rest);
                if (dr)
                    store(dr + s * nodes + begin, rate * at.r[h] * (by_r[h] + T[h]), rest);
                if (db)
                    store(db + s * nodes + begin, -xi_b * load(cloud->a + s * nodes + begin, rest, 0) * by_b[h], rest);
                for (int q = 0; q < P; q++)
                    store(dv + (s * P + q) * dv_stride + begin, rate * (by_v[q][h] + at.v[q][h] * T[h]), rest);
            }
        }
    }
}

/* The divergence of all neurons' velocity, to `out` (slices, nodes).  field is (modes, 3): the coefficients that belong to
 * G_{k+2} and to S G_{k+4}, and for b to G_{k+2}, see Modes.divergence_coefficients; the table must hold G_0..G_{K+4}. */
void divergence(const table_t *table, const modes_t *modes, const cloud_t *cloud, const double *field, double xi_w, double xi_b,
                double *out, double *work)
{
    const int64_t nodes = cloud->nodes;
    const int K = modes->degree, stride = table->stride;
    const room_t room = room_in(work, modes->count, stride);
    lanes (*restrict mu)[WIDE] = room.mu, *restrict G = room.G;
    for (int64_t s = 0; s < cloud->slices; s++)
        for (int64_t n = 0; n < nodes; n += GROUP) {
            const place_t at = position(cloud, s, n);
            lanes total[WIDE], of_b[WIDE];
            EACH {
                functions_at(table, cloud, &at, s, n, h, G + h * stride);
                total[h] = of_b[h] = spread(0);
            }
            monomials(modes, &at, mu);
            for (int k = 0; k <= K; k++) {
                lanes part[2 + BIASES][WIDE];
                memset(part, 0, sizeof part);
                for (int i = modes->first[k]; i < modes->first[k + 1]; i++)
                    for (int c = 0; c < 2 + BIASES; c++)
                        EACH part[c][h] += field[3 * i + c] * mu[i][h];
                EACH total[h] += G[h * stride + k + 2] * part[0][h] + at.S[h] * G[h * stride + k + 4] * part[1][h];
#if BIASES
                EACH of_b[h] += G[h * stride + k + 2] * part[2][h];
#endif
            }
            for (int h = 0; h < WIDE && n + h * LANES < nodes; h++) {
                const int64_t begin = n + h * LANES, rest = nodes - begin;
                const lanes a = load(cloud->a + s * nodes + begin, rest, 0);
                lanes value = -xi_w * a * total[h];
#if BIASES
                value -= xi_b * a * of_b[h];
#endif
                store(out + s * nodes + begin, value, rest);
            }
        }
}

#if BIASES
/* G_k at each neuron, to `out` (slices, nodes, n_k). */
void functions(const table_t *table, const cloud_t *cloud, double *out, double *work)
{
    const int64_t nodes = cloud->nodes;
    lanes *G = room_in(work, 0, table->stride).G;
    for (int64_t s = 0; s < cloud->slices; s++)
        for (int64_t n = 0; n < nodes; n += GROUP) {
            const place_t at = position(cloud, s, n);
            for (int h = 0; h < WIDE; h++) {
                const int64_t begin = n + h * LANES;
                functions_at(table, cloud, &at, s, n, h, G);
                for (int l = 0; l < LANES && begin + l < nodes; l++)
                    for (int k = 0; k < table->n_k; k++)
                        out[(s * nodes + begin + l) * table->n_k + k] = G[k][l];
            }
        }
}
#endif
