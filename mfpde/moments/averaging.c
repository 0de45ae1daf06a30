/* Moments of a law of neurons in quadruple precision: what is left after cancellation decides the smallest eigenvalues
 * of a kernel matrix.
 *
 *   E[ v^beta r^{2k} ] = sum_n w_n v_n^beta r_n^{2k}
 *
 * Macro: P (dimension of V).
 */
#include <stdint.h>
#include <string.h>

typedef __float128 real;

typedef struct {
    int64_t nodes;
    const double *weight, *v, *r; /* (nodes), (P, nodes), (nodes) */
} law_t;

/* Monomial i of `count` is monomial parent[i] times v[factor[i]], where factor P stands for r^2; high + low is the moment.
 * work: room for 4 `count` doubles, aligned to 16 bytes. */
void law_moments(const law_t *law, int64_t count, const int32_t *parent, const int32_t *factor, double *high, double *low,
                 double *work)
{
    real *restrict total = (real *)work, *restrict mu = total + count;
    for (int64_t i = 0; i < count; i++)
        total[i] = 0;
    for (int64_t n = 0; n < law->nodes; n++) {
        real x[P + 1];
        for (int q = 0; q < P; q++)
            x[q] = law->v[q * law->nodes + n];
        x[P] = (real)law->r[n] * law->r[n];
        mu[0] = law->weight[n];
        total[0] += mu[0];
        for (int64_t i = 1; i < count; i++) {
            mu[i] = mu[parent[i]] * x[factor[i]];
            total[i] += mu[i];
        }
    }
    for (int64_t i = 0; i < count; i++) {
        high[i] = (double)total[i];
        low[i] = (double)(total[i] - high[i]);
    }
}
