/* Discontinuous Galerkin transport on tensor-product cells, collocated at Gauss points, upwind.
 *
 * On each slice, with the remainder velocity beta = chi L^{-1} (v' - M' - L' y) (chi tapers it to 0 at the walls):
 *
 *   density   (dq/dt, phi) = (q beta, grad phi) - < q* beta.n, phi >,      q* from the upwind side
 *   carried   (dA/dt, phi) = (A', phi) - (beta.grad A, phi) - < min(beta.n, 0) (A+ - A-), phi >
 *
 * with beta.n on a facet the mean of its two sides and no flux through the boundary.  The (NODES1)^P Gauss points of a
 * cell are both the nodes of the basis and the quadrature, so the mass matrix is diagonal.  Node (i_1, .., i_P) of a
 * cell has the number (i_1 NODES1 + i_2) NODES1 + i_3; face 2 d + side is where reference coordinate d equals side.
 * Macros: P (dimension), NODES1 (Gauss points per direction).
 */
#include <stdint.h>
#include <string.h>

#define POW1 (NODES1)
#define POW2 (NODES1 * NODES1)
#define POW3 (NODES1 * NODES1 * NODES1)
#if P == 1
#define NODES POW1
#define FACE 1
#elif P == 2
#define NODES POW2
#define FACE POW1
#else
#define NODES POW3
#define FACE POW2
#endif
#define FACES (2 * P)
#define FIT (1 + 2 * P + 2 * P * P)
#define FIELDS (P + 3)  /* traces of beta, q, A, R */
#define Q P

typedef struct {
    int64_t owned, cells, facets, walls;
    const double *y, *taper;    /* (P, cells, NODES) */
    const double *weight;       /* (cells, NODES): quadrature weight times det J */
    const double *inverse;      /* (P, P, cells, NODES): [d][q] = d xi_d / d y_q */
    const double *differentiate; /* (NODES1, NODES1): derivative of basis function j at node i, [i][j] */
    const double *trace;        /* (2, NODES1): basis functions at 0 and at 1 */
    const int64_t *sides;       /* (facets, 2): face number FACES * cell + face of both sides */
    const int32_t *match;       /* (facets, FACE): the second side's number of the first side's facet node */
    const double *normal;       /* (facets, FACE, P): n dS w out of the first side */
    const int64_t *wall;        /* (walls): face numbers on the boundary */
} mesh_t;

typedef struct {
    double *traces; /* (cells, FACES, FIELDS, FACE) */
} scratch_t;

/* v = M + L y at the nodes of owned cells; frames[s] = M, L (slices, P + P^2), v is (slices, P, owned, NODES). */
void positions(const mesh_t *mesh, int64_t slices, const double *frames, double *v)
{
    const int64_t n_all = mesh->cells * NODES, n_owned = mesh->owned * NODES;
    for (int64_t s = 0; s < slices; s++) {
        const double *M = frames + s * (P + P * P), *L = M + P;
        for (int q = 0; q < P; q++) {
            double *out = v + (s * P + q) * n_owned;
            for (int64_t n = 0; n < n_owned; n++) {
                double x = M[q];
                for (int j = 0; j < P; j++)
                    x += L[q * P + j] * mesh->y[j * n_all + n];
                out[n] = x;
            }
        }
    }
}

/* What the frame's least squares needs: fit[s] = integrals over q dy of 1, y, v', y y^T, v' y^T, over owned cells.
 * q is (slices, owned, NODES), dv is (slices, P, cells, NODES). */
void frame_fit(const mesh_t *mesh, int64_t slices, const double *q, const double *dv, double *fit)
{
    const int64_t n_all = mesh->cells * NODES, n_owned = mesh->owned * NODES;
    for (int64_t s = 0; s < slices; s++) {
        double total[FIT];
        memset(total, 0, sizeof total);
        for (int64_t n = 0; n < n_owned; n++) {
            const double w = mesh->weight[n] * q[s * n_owned + n];
            double x[1 + 2 * P];
            x[0] = 1;
            for (int i = 0; i < P; i++) {
                x[1 + i] = mesh->y[i * n_all + n];
                x[1 + P + i] = dv[(s * P + i) * n_all + n];
            }
            double *sums = total;
            for (int i = 0; i < 1 + 2 * P; i++)
                *sums++ += w * x[i];
            for (int i = 0; i < 2 * P; i++)
                for (int j = 0; j < P; j++)
                    *sums++ += w * x[1 + i] * x[1 + j];
        }
        memcpy(fit + s * FIT, total, sizeof total);
    }
}

/* beta of all slices from v', in place: dv (slices, P, cells, NODES), owned cells only.  rates[s] = M', L', L^{-1}. */
void remainder_velocity(const mesh_t *mesh, int64_t slices, const double *rates, double *dv)
{
    const int64_t n_all = mesh->cells * NODES, n_owned = mesh->owned * NODES;
    for (int64_t s = 0; s < slices; s++) {
        const double *dM = rates + s * (P + 2 * P * P), *dL = dM + P, *inverse = dL + P * P;
        double *v = dv + s * P * n_all;
        for (int64_t n = 0; n < n_owned; n++) {
            double rest[P];
            for (int q = 0; q < P; q++) {
                rest[q] = v[q * n_all + n] - dM[q];
                for (int j = 0; j < P; j++)
                    rest[q] -= dL[q * P + j] * mesh->y[j * n_all + n];
            }
            for (int q = 0; q < P; q++) {
                double beta = 0;
                for (int j = 0; j < P; j++)
                    beta += inverse[q * P + j] * rest[j];
                v[q * n_all + n] = beta * mesh->taper[q * n_all + n];
            }
        }
    }
}

/* out[side][m] = value on the two faces across direction d; u (NODES) -> out, out + FIELDS * FACE. */
static inline void to_faces(const double *trace, int d, const double *restrict u, double *restrict out)
{
    const int inner = d == P - 1 ? 1 : d == P - 2 ? POW1 : POW2, outer = FACE / inner;
    for (int side = 0; side < 2; side++)
        for (int o = 0; o < outer; o++)
            for (int k = 0; k < inner; k++) {
                double value = 0;
                for (int i = 0; i < NODES1; i++)
                    value += trace[side * NODES1 + i] * u[(o * NODES1 + i) * inner + k];
                out[side * FIELDS * FACE + o * inner + k] = value;
            }
}

static inline void cell_traces(const mesh_t *mesh, int64_t c, const double *beta, const double *const *u, double *out)
{
#pragma GCC unroll 3 /* so that the strides of direction d are constants */
    for (int d = 0; d < P; d++) {
        double *face = out + 2 * d * FIELDS * FACE;
        for (int q = 0; q < P; q++)
            to_faces(mesh->trace, d, beta + (q * mesh->cells + c) * NODES, face + q * FACE);
        for (int f = 0; f < 3; f++)
            if (u[f])
                to_faces(mesh->trace, d, u[f] + c * NODES, face + (Q + f) * FACE);
    }
}

/* Traces become numerical fluxes: q* beta.n and min(beta.n, 0) (A+ - A-), each out of its own side. */
static inline void facet_fluxes(const mesh_t *mesh, double *traces, const int carried[2])
{
    for (int64_t f = 0; f < mesh->facets; f++) {
        double *first = traces + mesh->sides[2 * f] * FIELDS * FACE;
        double *second = traces + mesh->sides[2 * f + 1] * FIELDS * FACE;
        for (int m = 0; m < FACE; m++) {
            const int o = mesh->match[f * FACE + m];
            double flow = 0;
            for (int q = 0; q < P; q++)
                flow += 0.5 * (first[q * FACE + m] + second[q * FACE + o]) * mesh->normal[(f * FACE + m) * P + q];
            const double flux = flow * (flow > 0 ? first[Q * FACE + m] : second[Q * FACE + o]);
            first[Q * FACE + m] = flux;
            second[Q * FACE + o] = -flux;
            for (int g = 0; g < 2; g++)
                if (carried[g]) {
                    const double jump = second[(Q + 1 + g) * FACE + o] - first[(Q + 1 + g) * FACE + m];
                    first[(Q + 1 + g) * FACE + m] = (flow < 0 ? flow : 0) * jump;
                    second[(Q + 1 + g) * FACE + o] = (flow > 0 ? flow : 0) * jump;
                }
        }
    }
    for (int64_t w = 0; w < mesh->walls; w++)
        memset(traces + mesh->wall[w] * FIELDS * FACE, 0, sizeof(double) * FIELDS * FACE);
}

static inline void lift(const double *trace, int d, const double *restrict flux, double *restrict rest)
{
    const int inner = d == P - 1 ? 1 : d == P - 2 ? POW1 : POW2, outer = FACE / inner;
    for (int o = 0; o < outer; o++)
        for (int i = 0; i < NODES1; i++)
            for (int k = 0; k < inner; k++)
                rest[(o * NODES1 + i) * inner + k] -= trace[i] * flux[o * inner + k]
                    + trace[NODES1 + i] * flux[FIELDS * FACE + o * inner + k];
}

/* out_i += sum_j D[j][i] F_j along direction d (transposed: the weak derivative). */
static inline void differentiate_transposed(const double *D, int d, const double *restrict F, double *restrict out)
{
    const int inner = d == P - 1 ? 1 : d == P - 2 ? POW1 : POW2, outer = FACE / inner;
    for (int o = 0; o < outer; o++)
        for (int i = 0; i < NODES1; i++)
            for (int k = 0; k < inner; k++) {
                double value = 0;
                for (int j = 0; j < NODES1; j++)
                    value += D[j * NODES1 + i] * F[(o * NODES1 + j) * inner + k];
                out[(o * NODES1 + i) * inner + k] += value;
            }
}

/* out_i -= beta_i (du / d xi_d)_i weight_i along direction d. */
static inline void advect(const double *D, int d, const double *restrict u, const double *restrict beta,
                          const double *restrict weight, double *restrict out)
{
    const int inner = d == P - 1 ? 1 : d == P - 2 ? POW1 : POW2, outer = FACE / inner;
    for (int o = 0; o < outer; o++)
        for (int i = 0; i < NODES1; i++)
            for (int k = 0; k < inner; k++) {
                const int n = (o * NODES1 + i) * inner + k;
                double value = 0;
                for (int j = 0; j < NODES1; j++)
                    value += D[i * NODES1 + j] * u[(o * NODES1 + j) * inner + k];
                out[n] -= beta[n] * weight[n] * value;
            }
}

/* Adds the transport of one slice to its rates, and returns the largest sum_d |d xi_d/dt| in reference cells a unit of
 * time.  u, rate: q, A, R (null: not carried), each (cells, NODES) and (owned, NODES); rate of q is set, not added to. */
static double transport_slice(const mesh_t *mesh, const scratch_t *scratch, const double *beta, const double *const u[3],
                              double *const rate[3])
{
    const int64_t n_all = mesh->cells * NODES;
    const int carried[2] = {u[1] != 0, u[2] != 0};
    double fastest = 0;
    for (int64_t c = 0; c < mesh->cells; c++)
        cell_traces(mesh, c, beta, u, scratch->traces + c * FACES * FIELDS * FACE);
    facet_fluxes(mesh, scratch->traces, carried);
    for (int64_t c = 0; c < mesh->owned; c++) {
        const double *flux = scratch->traces + c * FACES * FIELDS * FACE, *weight = mesh->weight + c * NODES;
        double rest[3][NODES], speed[NODES], across[NODES], flow[NODES];
        memset(rest, 0, sizeof rest);
        memset(speed, 0, sizeof speed);
#pragma GCC unroll 3
        for (int d = 0; d < P; d++) {
            for (int n = 0; n < NODES; n++)
                across[n] = 0;
            for (int q = 0; q < P; q++)
                for (int n = 0; n < NODES; n++)
                    across[n] += mesh->inverse[(d * P + q) * n_all + c * NODES + n] * beta[q * n_all + c * NODES + n];
            for (int n = 0; n < NODES; n++) {
                speed[n] += across[n] < 0 ? -across[n] : across[n];
                flow[n] = weight[n] * u[0][c * NODES + n] * across[n];
            }
            differentiate_transposed(mesh->differentiate, d, flow, rest[0]);
            lift(mesh->trace, d, flux + (2 * d * FIELDS + Q) * FACE, rest[0]);
            for (int g = 1; g < 3; g++)
                if (u[g]) {
                    advect(mesh->differentiate, d, u[g] + c * NODES, across, weight, rest[g]);
                    lift(mesh->trace, d, flux + (2 * d * FIELDS + Q + g) * FACE, rest[g]);
                }
        }
        for (int n = 0; n < NODES; n++) {
            rate[0][c * NODES + n] = rest[0][n] / weight[n];
            fastest = speed[n] > fastest ? speed[n] : fastest;
        }
        for (int g = 1; g < 3; g++)
            if (u[g])
                for (int n = 0; n < NODES; n++)
                    rate[g][c * NODES + n] += rest[g][n] / weight[n];
    }
    return fastest;
}

/* All slices: fields (slices, cells, NODES) with ghosts, rates (slices, owned, NODES); a, r and their rates may be null. */
double transport(const mesh_t *mesh, const scratch_t *scratch, int64_t slices, const double *beta, const double *q,
                 const double *a, const double *r, double *dq, double *da, double *dr)
{
    const int64_t n_all = mesh->cells * NODES, n_owned = mesh->owned * NODES;
    double fastest = 0;
    for (int64_t s = 0; s < slices; s++) {
        const double *const u[3] = {q + s * n_all, a ? a + s * n_all : 0, r ? r + s * n_all : 0};
        double *const rate[3] = {dq + s * n_owned, a ? da + s * n_owned : 0, r ? dr + s * n_owned : 0};
        const double speed = transport_slice(mesh, scratch, beta + s * P * n_all, u, rate);
        fastest = speed > fastest ? speed : fastest;
    }
    return fastest;
}

/* Zhang and Shu's scaling limiter: q >= 0 at the nodes with each cell's mass kept.  A cell whose own mass is negative
 * is emptied.  mass[s] = the slice's mass before and after (slices, 2); returns the number of cells that changed. */
int64_t limit(const mesh_t *mesh, int64_t slices, double *q, double *mass)
{
    int64_t changed = 0;
    for (int64_t s = 0; s < slices; s++) {
        double before = 0, after = 0;
        for (int64_t c = 0; c < mesh->owned; c++) {
            double *u = q + (s * mesh->owned + c) * NODES, total = 0, volume = 0, smallest = u[0];
            const double *w = mesh->weight + c * NODES;
            for (int n = 0; n < NODES; n++) {
                total += w[n] * u[n];
                volume += w[n];
                smallest = u[n] < smallest ? u[n] : smallest;
            }
            before += total;
            if (smallest < 0) {
                const double mean = total > 0 ? total / volume : 0;
                const double theta = total > 0 ? mean / (mean - smallest) : 0;
                changed++;
                total = 0;
                for (int n = 0; n < NODES; n++) {
                    const double limited = mean + theta * (u[n] - mean);
                    u[n] = limited > 0 ? limited : 0;
                    total += w[n] * u[n];
                }
            }
            after += total;
        }
        mass[2 * s] = before;
        mass[2 * s + 1] = after;
    }
    return changed;
}
