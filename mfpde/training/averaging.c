/* Moments of a law of neurons in quadruple precision: what is left after cancellation decides the smallest eigenvalues
 * of a kernel matrix.
 *
 *   E[ v^beta r^{2k} ] = sum_s label_s sum_n w_n q_sn v_sn^beta r_sn^{2k},    v = M + L y
 *
 * Macros: P (dimension of V), MOMENTS.
 */
#include <stdint.h>
#include <string.h>

typedef __float128 real;

typedef struct {
    int64_t slices, nodes;
    const double *y, *weight; /* (P, nodes), (nodes) */
    const double *M, *L;      /* (slices, P), (slices, P, P) */
    const double *q, *r;      /* (slices, nodes) */
    const double *label;      /* (slices) */
} law_t;

/* Monomial i is monomial parent[i] times v[factor[i]], where factor P stands for r^2; high + low is the moment. */
void law_moments(const law_t *law, const int32_t *parent, const int32_t *factor, double *high, double *low)
{
    real total[MOMENTS];
    for (int i = 0; i < MOMENTS; i++)
        total[i] = 0;
    for (int64_t s = 0; s < law->slices; s++) {
        for (int64_t n = 0; n < law->nodes; n++) {
            const int64_t at = s * law->nodes + n;
            real x[P + 1], mu[MOMENTS];
            for (int i = 0; i < P; i++) {
                x[i] = law->M[s * P + i];
                for (int j = 0; j < P; j++)
                    x[i] += (real)law->L[(s * P + i) * P + j] * law->y[j * law->nodes + n];
            }
            x[P] = (real)law->r[at] * law->r[at];
            mu[0] = (real)law->label[s] * law->weight[n] * law->q[at];
            total[0] += mu[0];
            for (int i = 1; i < MOMENTS; i++) {
                mu[i] = mu[parent[i]] * x[factor[i]];
                total[i] += mu[i];
            }
        }
    }
    for (int i = 0; i < MOMENTS; i++) {
        high[i] = (double)total[i];
        low[i] = (double)(total[i] - high[i]);
    }
}
