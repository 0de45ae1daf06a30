/* Cloud-in-cell deposit: a point's mass goes to the 2^AXES bins around it.
 *
 * Macro: AXES (coordinates of a point).
 */
#include <math.h>
#include <stdint.h>

/* Directions of the sub-cells at the most. */
#define MOST 16

/* A point with coordinates x in units of bins, bin i has its centre at i; see `deposit`. */
static void add(const double *x, double weight, const int64_t *size, double *mass)
{
    int64_t corner = 0, step[AXES], stride = 1;
    double share[AXES];
    for (int k = AXES - 1; k >= 0; k--) {
        const double last = (double)size[k], within = x[k] > -1 ? (x[k] < last ? x[k] : last) : -1;
        const int64_t low = within < last - 1 ? (int64_t)floor(within) : size[k] - 1;
        share[k] = within - (double)low;
        corner += (low + 1) * stride;
        step[k] = stride;
        stride *= size[k] + 2;
    }
    for (int c = 0; c < 1 << AXES; c++) {
        double part = weight;
        int64_t bin = corner;
        for (int k = 0; k < AXES; k++) {
            const int up = c >> k & 1;
            part *= up ? share[k] : 1 - share[k];
            bin += up * step[k];
        }
        mass[bin] += part;
    }
}

/* place[k][n] (AXES, points) are the images of sub-cells of lattices of `directions` <= MOST directions, cells[q] in each, the last
 * one fastest, one lattice after the other; `weight` are the masses of one lattice.  Each sub-cell is drawn as its mass in equal
 * parts at parts[0] * parts[1] * .. places, on straight lines half way to its neighbours: where the images are apart by some bins, they
 * leave no pattern.  mass has bins -1..size[k] in each axis, the last axis fastest; what is outside goes to the outermost. */
void deposit(
    int64_t points, const double *place, int64_t directions, const int64_t *cells, const int64_t *parts, const double *weight,
    const int64_t *size, double *mass)
{
    int64_t stride[MOST], period = 1, turns = 1;
    for (int64_t q = directions - 1; q >= 0; q--) {
        stride[q] = period;
        period *= cells[q];
        turns *= parts[q];
    }
    for (int64_t n = 0; n < points; n++) {
        const int64_t turn = n % period;
        double half[2][MOST][AXES];
        for (int64_t q = 0; q < directions; q++) {
            const int64_t number = turn / stride[q] % cells[q];
            const int first = number == 0, last = number == cells[q] - 1;
            for (int k = 0; k < AXES; k++) {
                const double *x = place + k * points + n;
                const double up = last ? 0 : x[stride[q]] - x[0], down = first ? 0 : x[0] - x[-stride[q]];
                half[0][q][k] = first ? up : down;
                half[1][q][k] = last ? down : up;
            }
        }
        for (int64_t m = 0; m < turns; m++) {
            double x[AXES];
            for (int k = 0; k < AXES; k++)
                x[k] = place[k * points + n];
            for (int64_t q = 0, left = m; q < directions; left /= parts[q], q++) {
                const double share = ((double)(left % parts[q]) + 0.5) / (double)parts[q] - 0.5;
                for (int k = 0; k < AXES; k++)
                    x[k] += share * half[share > 0][q][k];
            }
            add(x, weight[turn] / (double)turns, size, mass);
        }
    }
}
