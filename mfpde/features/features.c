/* Features of neurons: moments of a density, and the velocity field they cause.
 *
 * A neuron (a, v, r) sits at v = M + L y.  With S = |v|^2 + r^2, mu_i = v^alpha r^{2j} and the table G_k(S):
 *
 *   moments     m_i = N_i sum_n w_n q_n A_n mu_i(v_n, r_n) G_{k_i}(S_n)
 *   field       Psi       = sum_k G_k P_k
 *               dPsi/dv_q = sum_k G_k dP_k/dv_q + v_q T,    dPsi/dr = sum_k G_k dP_k/dr + r T,
 *               T = sum_k sqrt((k+1)(k+2)) G_{k+2} P_k,     P_k = sum_{k_i = k} e_i mu_i
 *   velocity    da/dt = -xi_a Psi,   dv/dt = -xi_w a grad_v Psi,   dr/dt = -xi_w a dPsi/dr
 *
 * Eight neurons are handled at a time, one in each lane of a vector.
 * Macros: P (dimension of V), K (degree), MODES, STRIDE (of the table, a multiple of 4, at least K + 3).
 */
#include <stdint.h>
#include <string.h>

#define LANES 8
#define FIT (1 + 2 * P + 2 * P * P)

typedef double lanes __attribute__((vector_size(8 * LANES)));
typedef double quad __attribute__((vector_size(32), aligned(8)));

typedef struct {
    const double *coefficients; /* (intervals, 8, STRIDE) */
    int64_t intervals;
    int32_t exponent; /* interval 0 is [0, 2^exponent) */
} table_t;

typedef struct {
    const int32_t *parent, *factor, *degree; /* (MODES) */
    const double *normalization;             /* (MODES) */
} modes_t;

typedef struct {
    int64_t slices, nodes;
    const double *y, *weight; /* (P, nodes), (nodes) */
    const double *M, *L;      /* (slices, P), (slices, P, P) */
    const double *q, *a, *r;  /* (slices, nodes) */
} density_t;

static inline lanes load(const double *x, int64_t count)
{
    lanes value;
    if (count >= LANES) {
        memcpy(&value, x, sizeof value);
    } else { /* repeat the last neuron; its extra copies get weight 0 */
        for (int l = 0; l < LANES; l++)
            value[l] = x[l < count ? l : count - 1];
    }
    return value;
}

static inline void store(double *x, lanes value, int64_t count)
{
    if (count >= LANES)
        memcpy(x, &value, sizeof value);
    else
        memcpy(x, &value, (size_t)count * sizeof *x);
}

static inline double sum(lanes value)
{
    double total = 0;
    for (int l = 0; l < LANES; l++)
        total += value[l];
    return total;
}

/* G[k] = G_k(S).  The top four mantissa bits and the exponent of S are the number of its interval. */
static inline void look_up(const table_t *table, lanes S, lanes G[STRIDE])
{
    const int64_t base = ((int64_t)(1023 + table->exponent) << 4) - 1;
    quad value[LANES][STRIDE / 4];
    for (int l = 0; l < LANES; l++) {
        double s = S[l], left, scale;
        uint64_t bits, corner, inverse;
        memcpy(&bits, &s, 8);
        int64_t i = (int64_t)(bits >> 48) - base;
        if (i > 0) {
            i = i < table->intervals ? i : table->intervals - 1;
            corner = bits & 0xffff000000000000u;
            inverse = (2 * 1023 + 5 - (bits >> 52)) << 52; /* 2 / width */
            memcpy(&left, &corner, 8);
            memcpy(&scale, &inverse, 8);
        } else {
            i = 0;
            left = 0;
            inverse = (uint64_t)(1023 + 1 - table->exponent) << 52;
            memcpy(&scale, &inverse, 8);
        }
        const double x = (s - left) * scale - 1;
        const quad *c = (const quad *)(table->coefficients + i * 8 * STRIDE);
        for (int k = 0; k < STRIDE / 4; k++) {
            quad g = c[7 * (STRIDE / 4) + k];
            for (int m = 6; m >= 0; m--)
                g = g * x + c[m * (STRIDE / 4) + k];
            value[l][k] = g;
        }
    }
    /* Transposed in registers: through memory, narrow stores would stall the wide loads after them. */
    for (int k = 0; k < STRIDE / 4; k++) {
        lanes row[4], pair[4];
        for (int l = 0; l < 4; l++)
            row[l] = __builtin_shufflevector(value[l][k], value[l + 4][k], 0, 1, 2, 3, 4, 5, 6, 7);
        for (int h = 0; h < 2; h++) {
            pair[2 * h] = __builtin_shufflevector(row[2 * h], row[2 * h + 1], 0, 8, 2, 10, 4, 12, 6, 14);
            pair[2 * h + 1] = __builtin_shufflevector(row[2 * h], row[2 * h + 1], 1, 9, 3, 11, 5, 13, 7, 15);
        }
        for (int h = 0; h < 2; h++) {
            G[4 * k + h] = __builtin_shufflevector(pair[h], pair[h + 2], 0, 1, 8, 9, 4, 5, 12, 13);
            G[4 * k + 2 + h] = __builtin_shufflevector(pair[h], pair[h + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        }
    }
}

/* mu[i] = v^alpha r^{2j}; the factor p is r^2. */
static inline void monomials(const modes_t *modes, const lanes v[P], lanes r, lanes mu[MODES])
{
    lanes x[P + 1];
    for (int q = 0; q < P; q++)
        x[q] = v[q];
    x[P] = r * r;
    mu[0] = x[P] * 0 + 1;
    for (int i = 1; i < MODES; i++)
        mu[i] = mu[modes->parent[i]] * x[modes->factor[i]];
}

/* v = M + L y and S of the neurons [n, n + count) of one slice. */
static inline lanes position(const density_t *rho, int64_t s, int64_t n, lanes y[P], lanes v[P], lanes *r)
{
    const int64_t count = rho->nodes - n;
    *r = load(rho->r + s * rho->nodes + n, count);
    lanes S = *r * *r;
    for (int q = 0; q < P; q++)
        y[q] = load(rho->y + q * rho->nodes + n, count);
    for (int q = 0; q < P; q++) {
        v[q] = y[0] * 0 + rho->M[s * P + q];
        for (int j = 0; j < P; j++)
            v[q] += rho->L[(s * P + q) * P + j] * y[j];
        S += v[q] * v[q];
    }
    return S;
}

/* moments[s][i] = int A phi_i q dy of each slice (no label weights), mass[s] = int q dy; returns the largest S. */
double slice_moments(const table_t *table, const modes_t *modes, const density_t *rho, double *moments, double *mass)
{
    double largest = 0;
    for (int64_t s = 0; s < rho->slices; s++) {
        lanes total[MODES], all = {0};
        memset(total, 0, sizeof total);
        for (int64_t n = 0; n < rho->nodes; n += LANES) {
            const int64_t count = rho->nodes - n;
            lanes y[P], v[P], r, G[STRIDE], mu[MODES];
            const lanes S = position(rho, s, n, y, v, &r);
            for (int l = 0; l < LANES; l++)
                largest = S[l] > largest ? S[l] : largest;
            lanes w = load(rho->weight + n, count) * load(rho->q + s * rho->nodes + n, count);
            for (int l = (int)(count < LANES ? count : LANES); l < LANES; l++)
                w[l] = 0;
            all += w;
            w *= load(rho->a + s * rho->nodes + n, count);
            look_up(table, S, G);
            monomials(modes, v, r, mu);
            for (int k = 0; k <= K; k++)
                G[k] *= w;
            for (int i = 0; i < MODES; i++)
                total[i] += mu[i] * G[modes->degree[i]];
        }
        mass[s] = sum(all);
        for (int i = 0; i < MODES; i++)
            moments[s * MODES + i] = modes->normalization[i] * sum(total[i]);
    }
    return largest;
}

/* The velocity (da, dv, dr) of the neurons of the slices [first, last), and the sums of the frame's least squares:
 * fit[s] = E[1], E[y], E[v'], E[y y^T], E[v' y^T] under q.  field is (MODES, P + 2), see Modes.field_coefficients;
 * curvature[k] = sqrt((k+1)(k+2)).  da and dr may be null (not wanted); dv is (slices, P, nodes). */
void slice_velocities(const table_t *table, const modes_t *modes, const density_t *rho, int64_t first, int64_t last,
                      const double *field, const double *curvature, double xi_a, double xi_w,
                      double *da, double *dv, int64_t dv_stride, double *dr, double *fit)
{
    const int64_t nodes = rho->nodes;
    for (int64_t s = first; s < last; s++) {
        lanes total[FIT];
        memset(total, 0, sizeof total);
        for (int64_t n = 0; n < nodes; n += LANES) {
            const int64_t count = nodes - n;
            lanes y[P], v[P], r, G[STRIDE], mu[MODES];
            const lanes S = position(rho, s, n, y, v, &r);
            look_up(table, S, G);
            monomials(modes, v, r, mu);

            lanes psi = {0}, T = {0}, by_v[P], by_r = {0};
            memset(by_v, 0, sizeof by_v);
            for (int i = 0, k = 0; k <= K; k++) {
                lanes part[P + 2];
                memset(part, 0, sizeof part);
                for (; i < MODES && modes->degree[i] == k; i++)
                    for (int c = 0; c < P + 2; c++)
                        part[c] += field[i * (P + 2) + c] * mu[i];
                psi += G[k] * part[0];
                T += curvature[k] * G[k + 2] * part[0];
                for (int q = 0; q < P; q++)
                    by_v[q] += G[k + 1] * part[1 + q];
                by_r += G[k + 2] * part[P + 1];
            }

            const lanes a = load(rho->a + s * nodes + n, count);
            const lanes rate = -xi_w * a;
            if (da)
                store(da + s * nodes + n, -xi_a * psi, count);
            if (dr)
                store(dr + s * nodes + n, rate * r * (by_r + T), count);
            lanes w = load(rho->weight + n, count) * load(rho->q + s * nodes + n, count);
            for (int l = (int)(count < LANES ? count : LANES); l < LANES; l++)
                w[l] = 0;
            lanes *sums = total;
            *sums++ += w;
            for (int q = 0; q < P; q++)
                *sums++ += w * y[q];
            for (int q = 0; q < P; q++) {
                by_v[q] = rate * (by_v[q] + v[q] * T);
                store(dv + (s * P + q) * dv_stride + n, by_v[q], count);
                *sums++ += w * by_v[q];
            }
            for (int q = 0; q < P; q++)
                for (int j = 0; j < P; j++)
                    *sums++ += w * y[q] * y[j];
            for (int q = 0; q < P; q++)
                for (int j = 0; j < P; j++)
                    *sums++ += w * by_v[q] * y[j];
        }
        for (int i = 0; i < FIT; i++)
            fit[s * FIT + i] = sum(total[i]);
    }
}
