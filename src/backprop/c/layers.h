/* What the layers do with one row, in exported files: `real` is float or double, and _r the end of its functions. The
 * order of each sum is that of the compiled core, and so are the bits. */

/* So many outputs side by side, each a chain in the order of the inputs, as long as there are so many left. */
#define chains(n)                                                              \
    for (; j + (n) <= n_out; j += (n)) {                                       \
        for (i = 0; i < (n); i++) sum[i] = b ? b[j + i] : 0;                   \
        for (k = 0; k < n_in; k++) {                                           \
            for (i = 0; i < (n); i++) {                                        \
                product = x[k] * w[k * n_out + j + i];                         \
                sum[i] = sum[i] + product;                                     \
            }                                                                  \
        }                                                                      \
        for (i = 0; i < (n); i++) y[j + i] = sum[i];                           \
    }

static void dense_r(int32_t n_in, int32_t n_out, const real *x, const real *w, const real *b, real *y)
{
    real sum[32], product;
    int32_t i, j = 0, k;
    chains(32)
    chains(8)
    chains(1)
}

static void copy_r(int32_t n, const real *x, real *y)
{
    int32_t i;
    for (i = 0; i < n; i++) y[i] = x[i];
}

static void add_r(int32_t n, const real *x, const real *other, real *y)
{
    int32_t i;
    for (i = 0; i < n; i++) y[i] = x[i] + other[i];
}

static void prelu_r(int32_t n, const real *slope, const real *x, real *y)
{
    int32_t i;
    for (i = 0; i < n; i++) y[i] = x[i] <= 0 ? slope[i] * x[i] : x[i];
}

static void scale_r(int32_t n, const real *weight, const real *x, real *y)
{
    int32_t i;
    for (i = 0; i < n; i++) y[i] = weight[i] * x[i];
}

static void batch_norm_r(int32_t n, const double *mean, const double *rstd, const real *weight, const real *bias,
                         const real *x, real *y)
{
    int32_t i;
    for (i = 0; i < n; i++) y[i] = (real)((x[i] - mean[i]) * rstd[i] * weight[i] + bias[i]);
}

static void layer_norm_r(int32_t n, double epsilon, const real *weight, const real *bias, const real *x, real *y)
{
    const Moments row = moments_r(n, x, epsilon);
    int32_t i;
    for (i = 0; i < n; i++) y[i] = (real)((x[i] - row.mean) * row.rstd * weight[i] + bias[i]);
}

static void look_up_r(int32_t count, int32_t values, int32_t width, const real *table, const real *x, real *y)
{
    int32_t c, row;
    for (c = 0; c < count; c++) {
        row = x[c] >= 0 && x[c] < (real)values ? (int32_t)x[c] : 0;
        copy_r(width, table + row * width, y + c * width);
    }
}
