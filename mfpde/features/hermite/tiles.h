/* The look-up of G_k(S, b) with biases, see tiles.py: around the centre (S_0, b_0) of a tile, in which g_k = sqrt(k!) G_k are kept,
 *
 *   g_k(S_0 + tau, b_0 + delta) = sum_m e_m g_{k+m}(S_0, b_0),   e_0 = 1,   (m + 1) e_{m+1} = delta e_m + tau e_{m-1},
 *
 * for g_{k+1} = dg_k/db and 1/2 g_{k+2} = dg_k/dS: the m! e_m are heat polynomials.
 */

/* Geometry, as in tiles.py: 2^TILE_BITS intervals an octave of S, panels of b of width 2^(floor(e / 2) - PANEL) in octave e. */
#define TILE_BITS 5
#define PANEL 2
#define TILE_TERMS 16
#define MIDDLE ((int64_t)1 << 43) /* of the numbers of panels */

typedef struct {
    const int32_t *slots; /* (2^bits): numbers of tiles by a hash of their keys, -1 where there is none */
    const int64_t *keys;  /* (tiles) */
    int32_t bits, exponent;
    double least, most; /* S is raised to `least`; beyond `most`, S and b^2 have no tile */
} tiles_t;

static inline int64_t slot_of(int64_t key, int32_t bits)
{
    return (int64_t)((uint64_t)key * 0x9E3779B97F4A7C15u >> (64 - bits));
}

/* Number of the interval of S times 2^44, plus that of the panel of b. */
static inline int64_t key_of(const tiles_t *tiles, double S, double b)
{
    const int64_t base = ((int64_t)(BIAS + tiles->exponent) << TILE_BITS) - 1;
    uint64_t bits;
    memcpy(&bits, &S, 8);
    int64_t i = (int64_t)(bits >> (MANTISSA - TILE_BITS)) - base;
    i = i > 0 ? i : 0;
    const int32_t octave = tiles->exponent + (i ? (int32_t)((i - 1) >> TILE_BITS) : 0);
    const uint64_t inverse = (uint64_t)(BIAS + PANEL - (octave >> 1)) << MANTISSA; /* 1 / width */
    double scale;
    memcpy(&scale, &inverse, 8);
    return (i << 44) + MIDDLE + (int64_t)floor(b * scale);
}

/* Enters the tiles [first, last) into the slots. */
void enter(int32_t *slots, int32_t bits, const int64_t *keys, int64_t first, int64_t last)
{
    const int64_t mask = ((int64_t)1 << bits) - 1;
    for (int64_t t = first; t < last; t++) {
        int64_t at = slot_of(keys[t], bits);
        while (slots[at] >= 0)
            at = (at + 1) & mask;
        slots[at] = (int32_t)t;
    }
}

/* The tile of each neuron; the keys of those that have none yet go to `missing` (neurons), and their number to *count.  Neurons
 * beyond every tile get the first one.  Returns the largest S or b^2. */
double locate(const tiles_t *tiles, const cloud_t *cloud, int32_t *tile, int64_t *missing, int64_t *count)
{
    const int64_t mask = ((int64_t)1 << tiles->bits) - 1, nodes = cloud->nodes;
    double largest = 0;
    int64_t last = -1, found = 0;
    *count = 0;
    for (int64_t s = 0; s < cloud->slices; s++)
        for (int64_t n = 0; n < nodes; n++) {
            const double r = cloud->r[s * nodes + n], b = cloud->b[s * nodes + n];
            double S = r * r;
            for (int q = 0; q < P; q++) {
                const double v = cloud->v[(s * P + q) * nodes + n];
                S += v * v;
            }
            const double size = S > b * b ? S : b * b;
            largest = size > largest ? size : largest;
            tile[s * nodes + n] = 0;
            if (!(S < tiles->most && b * b < tiles->most))
                continue;
            const int64_t key = key_of(tiles, S > tiles->least ? S : tiles->least, b);
            if (key != last) {
                int64_t at = slot_of(key, tiles->bits);
                while (tiles->slots[at] >= 0 && tiles->keys[tiles->slots[at]] != key)
                    at = (at + 1) & mask;
                found = tiles->slots[at];
                last = key;
                if (found < 0)
                    missing[(*count)++] = key;
            }
            tile[s * nodes + n] = (int32_t)(found > 0 ? found : 0);
        }
    return largest;
}

/* G[k] = G_k(S, b) of the `rest` neurons in the lanes, the first of them number `first` of the cloud. */
static inline void look_up_tile(const table_t *table, const cloud_t *cloud, lanes S, lanes b, int64_t first, int64_t rest, lanes *G)
{
    const int used = (table->n_k + 3) / 4;
    const double *row[LANES];
    lanes tau = spread(0), delta = spread(0), e[TILE_TERMS];
    for (int l = 0; l < LANES; l++) {
        row[l] = table->coefficients + (l < rest ? cloud->tile[first + l] : 0) * table->length;
        if (l < rest) {
            tau[l] = (S[l] > table->least ? S[l] : table->least) - row[l][0];
            delta[l] = b[l] - row[l][1];
        }
    }
    e[0] = spread(1);
    e[1] = delta;
    for (int m = 1; m + 1 < TILE_TERMS; m++)
        e[m + 1] = (delta * e[m] + tau * e[m - 1]) * (1.0 / (m + 1));
    for (int k = 0; k < used; k++) {
        quad value[LANES];
        for (int l = 0; l < LANES; l++) {
            const double *g = row[l] + 2 + 4 * k;
            quad total = {0};
            for (int m = TILE_TERMS - 1; m >= 0; m--)
                total += e[m][l] * *(const quad *)(g + m);
            value[l] = total;
        }
        transpose(value, G + 4 * k);
        for (int i = 0; i < 4; i++)
            G[4 * k + i] *= table->scale[4 * k + i];
    }
}
