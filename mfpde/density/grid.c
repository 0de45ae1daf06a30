/* Cloud-in-cell deposit: a point's mass goes to the 2^AXES bins around it.
 *
 * Macro: AXES (coordinates of a point).
 */
#include <math.h>
#include <stdint.h>

/* place[k][n] (AXES, points): coordinates in units of bins, bin i has its centre at i.  Points have `weight` each, in turns of
 * `period` weights.  mass has bins -1..size[k] in each axis, the last axis fastest; what is outside goes to the outermost. */
void deposit(int64_t points, const double *place, int64_t period, const double *weight, const int64_t *size, double *mass)
{
    for (int64_t n = 0, turn = 0; n < points; n++, turn = turn + 1 == period ? 0 : turn + 1) {
        int64_t corner = 0, step[AXES], stride = 1;
        double share[AXES];
        for (int k = AXES - 1; k >= 0; k--) {
            const double last = (double)size[k], raw = place[k * points + n];
            const double x = raw > -1 ? (raw < last ? raw : last) : -1;
            const int64_t low = x < last - 1 ? (int64_t)floor(x) : size[k] - 1;
            share[k] = x - (double)low;
            corner += (low + 1) * stride;
            step[k] = stride;
            stride *= size[k] + 2;
        }
        for (int c = 0; c < 1 << AXES; c++) {
            double part = weight[turn];
            int64_t bin = corner;
            for (int k = 0; k < AXES; k++) {
                const int up = c >> k & 1;
                part *= up ? share[k] : 1 - share[k];
                bin += up * step[k];
            }
            mass[bin] += part;
        }
    }
}
