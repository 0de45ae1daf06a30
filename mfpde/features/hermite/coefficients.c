/* Hermite coefficients by quadrature in u, for many scales s and biases b at once:
 *
 *   c_k(s, b) = sum_n value_n he_k(g_n) exp(-g_n^2 / 2) / (sqrt(2 pi) s),      g_n = (u_n - b) / s,  |g_n| <= reach
 *
 * with the orthonormal he_{k+1}(g) = (g he_k(g) - sqrt(k) he_{k-1}(g)) / sqrt(k + 1).
 */
#include "lanes.h"
#include <math.h>

/* s and b (scales), u and value (points), u ascending; c is (scales, K + 1).  work: room for 3 (K + 1) vectors. */
void hermite_sums(int64_t scales, const double *s, const double *b, int64_t points, const double *u, const double *value,
                  int32_t K, double reach, double *c, double *work)
{
    lanes *restrict total = (lanes *)work, *restrict root = total + K + 1, *restrict inverse = root + K + 1;
    for (int k = 0; k <= K; k++) {
        root[k] = spread(sqrt(k));
        inverse[k] = spread(1 / sqrt(k + 1));
    }
    for (int64_t i = 0; i < scales; i++) {
        memset(total, 0, (K + 1) * sizeof *total);
        int64_t first = 0, last = points;
        while (first < points && u[first] < b[i] - reach * s[i])
            first++;
        while (last > first && u[last - 1] > b[i] + reach * s[i])
            last--;
        const double factor = 1 / (sqrt(2 * M_PI) * s[i]);
        for (int64_t n = first; n < last; n += LANES) {
            const lanes g = (load(u + n, last - n, 0) - b[i]) / s[i];
            lanes now = load(value + n, last - n, 0) * factor, before = spread(0);
            for (int l = 0; l < LANES; l++)
                now[l] *= exp(-0.5 * g[l] * g[l]);
            for (int k = 0; k <= K; k++) {
                total[k] += now;
                const lanes after = (g * now - root[k] * before) * inverse[k];
                before = now;
                now = after;
            }
        }
        for (int k = 0; k <= K; k++)
            c[i * (K + 1) + k] = sum(total[k]);
    }
}
