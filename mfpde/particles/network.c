/* Pair sums of a finite network over one tile of its Gram matrix q_ij = w_i.w_j:
 *
 *   power[i][k] += sum_j g_kj q_ij^k,      q_ij := sum_k k G_ik g_kj q_ij^(k-1),      g_kj = a_j G_k(S_j) / N
 *
 * Columns are handled one in each lane of a vector; what lies beyond the last one is 0, and so is its g: it adds nothing.
 * Macro: K (largest degree).
 */
#include "lanes.h"

/* q is (rows, columns), g is (K + 1, columns) with rows `stride` apart, G and power are (rows, K + 1). */
void pair_sums(int64_t rows, int64_t columns, double *q, const double *G, const double *g, int64_t stride, double *power)
{
    for (int64_t i = 0; i < rows; i++) {
        lanes total[K + 1], weight[K + 1];
        memset(total, 0, sizeof total);
        for (int k = 0; k <= K; k++)
            weight[k] = (lanes){0} + k * G[i * (K + 1) + k];
        double *row = q + i * columns;
        for (int64_t j = 0; j < columns; j += LANES) {
            const int64_t count = columns - j;
            const lanes x = load(row + j, count, 0);
            lanes y = (lanes){0} + 1, slope = {0};
            total[0] += load(g + j, count, 0);
            for (int k = 1; k <= K; k++) {
                const lanes term = load(g + k * stride + j, count, 0) * y; /* g q^(k-1) */
                slope += weight[k] * term;
                total[k] += term * x;
                y *= x;
            }
            store(row + j, slope, count);
        }
        for (int k = 0; k <= K; k++)
            for (int l = 0; l < LANES; l++)
                power[i * (K + 1) + k] += total[k][l];
    }
}
