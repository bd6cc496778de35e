/* Written by tools/kernels_in_c.py from the compiled core's kernels: change those. */
#define MAGIC_F 12582912.0f
#define MAGIC_D 6755399441055744.0

static float choose_f(int condition, float a, float b) {
    uint32_t keep = 0 - (uint32_t)condition, x, y;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    x = (x & keep) | (y & ~keep);
    memcpy(&a, &x, sizeof a);
    return a;
}

static double choose_d(int condition, double a, double b) {
    uint64_t keep = 0 - (uint64_t)condition, x, y;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    x = (x & keep) | (y & ~keep);
    memcpy(&a, &x, sizeof a);
    return a;
}

static float by_sign_f(float x, float right, float left) {
    uint32_t sign, r, l;
    memcpy(&sign, &x, sizeof sign);
    memcpy(&r, &right, sizeof r);
    memcpy(&l, &left, sizeof l);
    sign = 0 - (sign >> 31);
    r = (r & ~sign) | (l & sign);
    memcpy(&right, &r, sizeof right);
    return right;
}

static double by_sign_d(double x, double right, double left) {
    uint64_t sign, r, l;
    memcpy(&sign, &x, sizeof sign);
    memcpy(&r, &right, sizeof r);
    memcpy(&l, &left, sizeof l);
    sign = 0 - (sign >> 63);
    r = (r & ~sign) | (l & sign);
    memcpy(&right, &r, sizeof right);
    return right;
}

static int32_t exponent_f(float magic) {
    uint32_t bits;
    memcpy(&bits, &magic, sizeof bits);
    return (int32_t)(bits - 0x4b400000u);
}

static int64_t exponent_d(double magic) {
    uint64_t bits;
    memcpy(&bits, &magic, sizeof bits);
    return (int64_t)(bits - 0x4338000000000000u);
}

static float power_of_two_f(int32_t n) {
    uint32_t bits = ((uint32_t)n + 127u) << 23;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static double power_of_two_d(int64_t n) {
    uint64_t bits = ((uint64_t)n + 1023u) << 52;
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static float product_error_f(float a, float b, float p) {
    uint32_t x, y;
    float ah, bh;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    x &= 0xfffff000u;
    y &= 0xfffff000u;
    memcpy(&ah, &x, sizeof ah);
    memcpy(&bh, &y, sizeof bh);
    return (((ah * bh - p) + ah * (b - bh)) + (a - ah) * bh) + (a - ah) * (b - bh);
}

static double product_error_d(double a, double b, double p) {
    uint64_t x, y;
    double ah, bh;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    x &= 0xfffffffff8000000u;
    y &= 0xfffffffff8000000u;
    memcpy(&ah, &x, sizeof ah);
    memcpy(&bh, &y, sizeof bh);
    return (((ah * bh - p) + ah * (b - bh)) + (a - ah) * bh) + (a - ah) * (b - bh);
}

typedef struct {
    double mean, rstd;
} Moments;

static double absolute_d(double x)
{
    return fabs(x);
}

static float absolute_f(float x)
{
    return fabsf(x);
}

static double add_to(double a, double b, double *error)
{
    double s = a + b;
    double back = s - a;
    error[0] += (a - (s - back)) + (b - back);
    return s;
}

static double at_least_d(double least, double x)
{
    return (x < least ? least : x);
}

static float at_least_f(float least, float x)
{
    return (x < least ? least : x);
}

static double at_most_d(double most, double x)
{
    return (x > most ? most : x);
}

static float at_most_f(float most, float x)
{
    return (x > most ? most : x);
}

static double magic_exponent_d(double x)
{
    return (x * 1.4426950408889634) + MAGIC_D;
}

static double reduced_d(double x, double magic)
{
    double n;
    n = magic - MAGIC_D;
    return (x - (n * 0.6931471805601177)) - (n * (-1.7239444525614835e-13));
}

static double expm1_tail_d(double r)
{
    double s = r * r;
    double even;
    double odd;
    even = 2.7630233934148924e-07;
    even = (even * s) + 2.4801493136149115e-05;
    even = (even * s) + 0.0013888888943597725;
    even = (even * s) + 0.041666666666530267;
    even = (even * s) + 0.5000000000000011;
    odd = 2.5000071142422295e-08;
    odd = (odd * s) + 2.755758627056793e-06;
    odd = (odd * s) + 0.00019841269506774186;
    odd = (odd * s) + 0.008333333333494336;
    odd = (odd * s) + 0.16666666666666413;
    return s * ((odd * r) + even);
}

static double unscaled_exponential_d(double x, double low, double *rest, double *magic)
{
    double r;
    double y;
    double one = 1;
    magic[0] = magic_exponent_d(x);
    r = reduced_d(x, magic[0]) + low;
    r = r + expm1_tail_d(r);
    y = one + r;
    rest[0] = r - (y - one);
    return y;
}

static double scaled_d(double y, double magic)
{
    return (y * power_of_two_d(exponent_d(magic) >> 1)) * power_of_two_d((exponent_d(magic) + 1) >> 1);
}

static double bounded_exponential_d(double x, double low, double *rest)
{
    double magic;
    double y = unscaled_exponential_d(x, low, rest, &magic);
    rest[0] = scaled_d(rest[0], magic);
    return scaled_d(y, magic);
}

static float magic_exponent_f(float x)
{
    return (x * 1.442695f) + MAGIC_F;
}

static float reduced_f(float x, float magic)
{
    float n;
    n = magic - MAGIC_F;
    return (x - (n * 0.69317627f)) - (n * -2.9088971e-05f);
}

static float expm1_tail_f(float r)
{
    float s = r * r;
    float even;
    float odd;
    even = 0.0013814614f;
    even = (even * s) + 0.04166839f;
    even = (even * s) + 0.49999994f;
    odd = 0.00836871f;
    odd = (odd * s) + 0.16666521f;
    return s * ((odd * r) + even);
}

static float unscaled_exponential_f(float x, float low, float *rest, float *magic)
{
    float r;
    float y;
    float one = 1;
    magic[0] = magic_exponent_f(x);
    r = reduced_f(x, magic[0]) + low;
    r = r + expm1_tail_f(r);
    y = one + r;
    rest[0] = r - (y - one);
    return y;
}

static float scaled_f(float y, float magic)
{
    return (y * power_of_two_f(exponent_f(magic) >> 1)) * power_of_two_f((exponent_f(magic) + 1) >> 1);
}

static float bounded_exponential_f(float x, float low, float *rest)
{
    float magic;
    float y = unscaled_exponential_f(x, low, rest, &magic);
    rest[0] = scaled_f(rest[0], magic);
    return scaled_f(y, magic);
}

static double bounded_size_d(double x)
{
    double most = 1000;
    return at_most_d(most, absolute_d(x));
}

static float bounded_size_f(float x)
{
    float most = 150;
    return at_most_f(most, absolute_f(x));
}

static double exponential_minus_one_d(double x, double *low)
{
    double one = 1;
    double magic = magic_exponent_d(x);
    double r = reduced_d(x, magic);
    double tail = expm1_tail_d(r);
    double high = r + tail;
    double y;
    double scale = power_of_two_d(exponent_d(magic));
    y = (scale * high) + (scale - one);
    low[0] = ((scale * high) - (y - (scale - one))) + (scale * (tail - (high - r)));
    return y;
}

static double elu_d(double x, double right, double left)
{
    double least = -40;
    double low;
    double y = exponential_minus_one_d(at_least_d(least, x), &low);
    return by_sign_d(x, right * x, left * (y + low));
}

static float exponential_minus_one_f(float x, float *low)
{
    float one = 1;
    float magic = magic_exponent_f(x);
    float r = reduced_f(x, magic);
    float tail = expm1_tail_f(r);
    float high = r + tail;
    float y;
    float scale = power_of_two_f(exponent_f(magic));
    y = (scale * high) + (scale - one);
    low[0] = ((scale * high) - (y - (scale - one))) + (scale * (tail - (high - r)));
    return y;
}

static float elu_f(float x, float right, float left)
{
    float least = -40;
    float low;
    float y = exponential_minus_one_f(at_least_f(least, x), &low);
    return by_sign_f(x, right * x, left * (y + low));
}

static void elu_forward_d(int32_t n, double right, double left, double *y)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        y[i] = elu_d(y[i], right, left);
    }
}

static void elu_forward_f(int32_t n, float right, float left, float *y)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        y[i] = elu_f(y[i], right, left);
    }
}

static double exponential_d(double x, double low, double *rest)
{
    double most = 710;
    double least = -746;
    return bounded_exponential_d(at_least_d(least, at_most_d(most, x)), low, rest);
}

static void exp_forward_d(int32_t n, double *y)
{
    int32_t i;
    double zero = 0;
    double _;
    for (i = 0; i < n; i++) {
        y[i] = exponential_d(y[i], zero, &_);
    }
}

static float exponential_f(float x, float low, float *rest)
{
    float most = 89;
    float least = -104;
    return bounded_exponential_f(at_least_f(least, at_most_f(most, x)), low, rest);
}

static void exp_forward_f(int32_t n, float *y)
{
    int32_t i;
    float zero = 0;
    float _;
    for (i = 0; i < n; i++) {
        y[i] = exponential_f(y[i], zero, &_);
    }
}

static double exponential_below_d(double x, double top)
{
    double d = x - top;
    double back = d - x;
    double low = (x - (d - back)) - (top + back);
    double zero = 0;
    double one = 1;
    double _;
    return exponential_d(d, (absolute_d(low) < one ? low : zero), &_);
}

static float exponential_below_f(float x, float top)
{
    float d = x - top;
    float back = d - x;
    float low = (x - (d - back)) - (top + back);
    float zero = 0;
    float one = 1;
    float _;
    return exponential_f(d, (absolute_f(low) < one ? low : zero), &_);
}

static double gelu_cubic_d(double a, double *low)
{
    double first;
    double third;
    double more;
    double s = a * a;
    double t;
    double u;
    double v;
    double back;
    first = 1.5957691216057308;
    third = 0.07135481627260025;
    more = (s * (-6.175149918155207e-19)) - 9.969308809110914e-17;
    t = third * s;
    u = first + t;
    v = a * u;
    back = u - first;
    more = (((more + product_error_d(third, s, t)) + (third * product_error_d(a, a, s))) + (first - (u - back))) + (t - back);
    low[0] = product_error_d(a, u, v) + (a * more);
    return v;
}

static float gelu_cubic_f(float a, float *low)
{
    float first;
    float third;
    float more;
    float s = a * a;
    float t;
    float u;
    float v;
    float back;
    first = 1.5957692f;
    third = 0.071354814f;
    more = (s * 2.3988325e-09f) - 4.534068e-08f;
    t = third * s;
    u = first + t;
    v = a * u;
    back = u - first;
    more = (((more + product_error_f(third, s, t)) + (third * product_error_f(a, a, s))) + (first - (u - back))) + (t - back);
    low[0] = product_error_f(a, u, v) + (a * more);
    return v;
}

static double minus_half_square_d(double a, double *low)
{
    double half = 0.5;
    double s = a * a;
    low[0] = (-half) * product_error_d(a, a, s);
    return (-half) * s;
}

static double normal_tail_d(double u)
{
    double middle = 0.375;
    double v = u - middle;
    double q;
    q = -73.31437134803997;
    q = (q * v) + 31.706587085729968;
    q = (q * v) + 270.83677452294813;
    q = (q * v) + (-286.0770791783959);
    q = (q * v) + (-104.63311029555344);
    q = (q * v) + 233.05589746135806;
    q = (q * v) + (-23.07266349917462);
    q = (q * v) + (-84.90237670071983);
    q = (q * v) + 26.477160654549955;
    q = (q * v) + 18.10806503346274;
    q = (q * v) + (-7.933367761232525);
    q = (q * v) + (-2.0943978052733936);
    q = (q * v) + 1.2870856419222294;
    q = (q * v) + (-0.1887356228279515);
    q = (q * v) + (-0.4842739664871875);
    q = (q * v) + (-0.19473922449777645);
    q = (q * v) + (-0.01898133677997844);
    q = (q * v) + 0.11335346840053132;
    q = (q * v) + 0.19503411695383224;
    q = (q * v) + 0.18807457992058563;
    q = (q * v) + 0.10064709942402865;
    q = (q * v) + (-0.02545135077577322);
    q = (q * v) + (-0.1322130418838213);
    q = (q * v) + (-0.16655733670150039);
    q = (q * v) + (-0.10453845486332433);
    q = (q * v) + 0.029862213677101575;
    q = (q * v) + 0.16122700647001717;
    q = (q * v) + 0.18495834127364733;
    q = (q * v) + 0.02556715473347129;
    q = (q * v) + (-0.2600805919296009);
    q = (q * v) + (-0.328021116322783);
    q = (q * v) + 0.6623083346235802;
    return q;
}

static double gelu_d(double x)
{
    double zero = 0;
    double near = 1.5;
    double most = 39;
    double a = at_most_d(most, absolute_d(x));
    double low;
    double rest;
    double magic;
    double power = minus_half_square_d(a, &low);
    double e = unscaled_exponential_d(power, low, &rest, &magic);
    double u = a / (a + near);
    double y = u * normal_tail_d(u);
    return at_least_d(zero, x) - scaled_d((e * y) + (rest * y), magic);
}

static float minus_half_square_f(float a, float *low)
{
    float half = 0.5f;
    float s = a * a;
    low[0] = (-half) * product_error_f(a, a, s);
    return (-half) * s;
}

static float normal_tail_f(float u)
{
    float middle = 0.375f;
    float v = u - middle;
    float q;
    q = 0.29019064f;
    q = (q * v) + 0.06713844f;
    q = (q * v) + -0.19582383f;
    q = (q * v) + -0.18241177f;
    q = (q * v) + -0.095115125f;
    q = (q * v) + 0.031101566f;
    q = (q * v) + 0.16058058f;
    q = (q * v) + 0.18491419f;
    q = (q * v) + 0.02558566f;
    q = (q * v) + -0.26008f;
    q = (q * v) + -0.32802126f;
    q = (q * v) + 0.66230834f;
    return q;
}

static float gelu_f(float x)
{
    float zero = 0;
    float near = 1.5f;
    float most = 15;
    float a = at_most_f(most, absolute_f(x));
    float low;
    float rest;
    float magic;
    float power = minus_half_square_f(a, &low);
    float e = unscaled_exponential_f(power, low, &rest, &magic);
    float u = a / (a + near);
    float y = u * normal_tail_f(u);
    return at_least_f(zero, x) - scaled_f((e * y) + (rest * y), magic);
}

static void gelu_forward_d(int32_t n, double *y)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        y[i] = gelu_d(y[i]);
    }
}

static void gelu_forward_f(int32_t n, float *y)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        y[i] = gelu_f(y[i]);
    }
}

static double scaled_left_d(double x, double y, double magic)
{
    double unscaled = MAGIC_D;
    return scaled_d(y, by_sign_d(x, unscaled, magic));
}

static double times_sigmoid_d(double x, double a, double v, double low)
{
    double one = 1;
    double magic;
    double _;
    double m = unscaled_exponential_d(-v, -low, &_, &magic);
    return scaled_left_d(x, by_sign_d(x, x, (-a) * m) / (one + scaled_d(m, magic)), magic);
}

static double gelu_tanh_d(double x)
{
    double most = 23;
    double a = at_most_d(most, absolute_d(x));
    double low;
    double v = gelu_cubic_d(a, &low);
    return times_sigmoid_d(x, a, v, low);
}

static float scaled_left_f(float x, float y, float magic)
{
    float unscaled = MAGIC_F;
    return scaled_f(y, by_sign_f(x, unscaled, magic));
}

static float times_sigmoid_f(float x, float a, float v, float low)
{
    float one = 1;
    float magic;
    float _;
    float m = unscaled_exponential_f(-v, -low, &_, &magic);
    return scaled_left_f(x, by_sign_f(x, x, (-a) * m) / (one + scaled_f(m, magic)), magic);
}

static float gelu_tanh_f(float x)
{
    float most = 12;
    float a = at_most_f(most, absolute_f(x));
    float low;
    float v = gelu_cubic_f(a, &low);
    return times_sigmoid_f(x, a, v, low);
}

static void gelu_tanh_forward_d(int32_t n, double *y)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        y[i] = gelu_tanh_d(y[i]);
    }
}

static void gelu_tanh_forward_f(int32_t n, float *y)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        y[i] = gelu_tanh_f(y[i]);
    }
}

static void hard_sigmoid_forward_d(int32_t n, double *y)
{
    int32_t i;
    double zero = 0;
    double three = 3;
    double six = 6;
    for (i = 0; i < n; i++) {
        y[i] = at_least_d(zero, at_most_d(six, y[i] + three)) / six;
    }
}

static void hard_sigmoid_forward_f(int32_t n, float *y)
{
    int32_t i;
    float zero = 0;
    float three = 3;
    float six = 6;
    for (i = 0; i < n; i++) {
        y[i] = at_least_f(zero, at_most_f(six, y[i] + three)) / six;
    }
}

static void hard_tanh_forward_d(int32_t n, double *y)
{
    int32_t i;
    double one = 1;
    for (i = 0; i < n; i++) {
        y[i] = at_least_d(-one, at_most_d(one, y[i]));
    }
}

static void hard_tanh_forward_f(int32_t n, float *y)
{
    int32_t i;
    float one = 1;
    for (i = 0; i < n; i++) {
        y[i] = at_least_f(-one, at_most_f(one, y[i]));
    }
}

static double remainder_d(double a, double y, double d)
{
    double p = y * d;
    return (a - p) - product_error_d(y, d, p);
}

static double with_sign_d(double x, double sign)
{
    return copysign(x, sign);
}

static double hyperbolic_tangent_d(double x)
{
    double one = 1;
    double two = 2;
    double most = 40;
    double low;
    double e = exponential_minus_one_d(at_most_d(most, two * absolute_d(x)), &low);
    double d = e + two;
    double back = d - e;
    double inverse = one / d;
    double y = e * inverse;
    y = y + (((remainder_d(e, y, d) + low) - (y * (((e - (d - back)) + (two - back)) + low))) * inverse);
    return with_sign_d(y, x);
}

static float remainder_f(float a, float y, float d)
{
    float p = y * d;
    return (a - p) - product_error_f(y, d, p);
}

static float with_sign_f(float x, float sign)
{
    return copysignf(x, sign);
}

static float hyperbolic_tangent_f(float x)
{
    float one = 1;
    float two = 2;
    float most = 40;
    float low;
    float e = exponential_minus_one_f(at_most_f(most, two * absolute_f(x)), &low);
    float d = e + two;
    float back = d - e;
    float inverse = one / d;
    float y = e * inverse;
    y = y + (((remainder_f(e, y, d) + low) - (y * (((e - (d - back)) + (two - back)) + low))) * inverse);
    return with_sign_f(y, x);
}

static double largest_d(int32_t n, const double *x)
{
    int32_t i;
    double top = x[0];
    for (i = 1; i < n; i++) {
        top = (x[i] > top ? x[i] : top);
    }
    return top;
}

static float largest_f(int32_t n, const float *x)
{
    int32_t i;
    float top = x[0];
    for (i = 1; i < n; i++) {
        top = (x[i] > top ? x[i] : top);
    }
    return top;
}

static void leaky_relu_forward_d(int32_t n, double slope, double *y)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        y[i] = (y[i] <= 0 ? slope * y[i] : y[i]);
    }
}

static void leaky_relu_forward_f(int32_t n, float slope, float *y)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        y[i] = (y[i] <= 0 ? slope * y[i] : y[i]);
    }
}

static double log_one_plus_d(double e)
{
    double two = 2;
    double s = e / (two + e);
    double w = s * s;
    double q;
    q = 0.17009762389008729;
    q = (q * w) + 0.08344968529923925;
    q = (q * w) + 0.12104945557524284;
    q = (q * w) + 0.13301121298602306;
    q = (q * w) + 0.15386548398790992;
    q = (q * w) + 0.18181744478779768;
    q = (q * w) + 0.22222223953655318;
    q = (q * w) + 0.2857142854811785;
    q = (q * w) + 0.40000000000155117;
    q = (q * w) + 0.6666666666666631;
    return (two * s) + ((s * w) * q);
}

static double sum_row_d(int32_t n, const double *x, double *lost)
{
    double s0 = 0;
    double s1 = 0;
    double s2 = 0;
    double s3 = 0;
    double error = 0;
    int32_t i;
    for (i = 0; i < n / 4; i++) {
        s0 = add_to(s0, x[4 * i], &error);
        s1 = add_to(s1, x[(4 * i) + 1], &error);
        s2 = add_to(s2, x[(4 * i) + 2], &error);
        s3 = add_to(s3, x[(4 * i) + 3], &error);
    }
    for (i = (n / 4) * 4; i < n; i++) {
        s0 = add_to(s0, x[i], &error);
    }
    s0 = add_to(add_to(s0, s1, &error), add_to(s2, s3, &error), &error);
    lost[0] = error;
    return s0;
}

static void log_softmax_forward_d(int32_t rows, int32_t n, int32_t ld, double *y)
{
    int32_t r;
    int32_t i;
    int32_t j;
    int32_t piece;
    double top;
    double e[64];
    double total;
    double error;
    double lost;
    double log_total;
    for (r = 0; r < rows; r++) {
        top = largest_d(n, y);
        total = 0;
        error = 0;
        for (i = 0; i < n; i += 64) {
            piece = (n - i < 64 ? n - i : 64);
            for (j = 0; j < piece; j++) {
                e[j] = exponential_below_d(y[i + j], top);
            }
            total = add_to(total, sum_row_d(piece, e, &lost), &error);
            error += lost;
        }
        log_total = log(total) + (error / total);
        for (i = 0; i < n; i++) {
            y[i] = ((y[i] - top) - log_total);
        }
        y += ld;
    }
}

static double sum_row_f(int32_t n, const float *x, double *lost)
{
    double s0 = 0;
    double s1 = 0;
    double s2 = 0;
    double s3 = 0;
    double error = 0;
    int32_t i;
    for (i = 0; i < n / 4; i++) {
        s0 = add_to(s0, x[4 * i], &error);
        s1 = add_to(s1, x[(4 * i) + 1], &error);
        s2 = add_to(s2, x[(4 * i) + 2], &error);
        s3 = add_to(s3, x[(4 * i) + 3], &error);
    }
    for (i = (n / 4) * 4; i < n; i++) {
        s0 = add_to(s0, x[i], &error);
    }
    s0 = add_to(add_to(s0, s1, &error), add_to(s2, s3, &error), &error);
    lost[0] = error;
    return s0;
}

static void log_softmax_forward_f(int32_t rows, int32_t n, int32_t ld, float *y)
{
    int32_t r;
    int32_t i;
    int32_t j;
    int32_t piece;
    float top;
    float e[64];
    double total;
    double error;
    double lost;
    double log_total;
    for (r = 0; r < rows; r++) {
        top = largest_f(n, y);
        total = 0;
        error = 0;
        for (i = 0; i < n; i += 64) {
            piece = (n - i < 64 ? n - i : 64);
            for (j = 0; j < piece; j++) {
                e[j] = exponential_below_f(y[i + j], top);
            }
            total = add_to(total, sum_row_f(piece, e, &lost), &error);
            error += lost;
        }
        log_total = log(total) + (error / total);
        for (i = 0; i < n; i++) {
            y[i] = (float)(((double)y[i] - top) - log_total);
        }
        y += ld;
    }
}

static double mish_factor_d(double x, double e, double *slope)
{
    double one = 1;
    double two = 2;
    double four = 4;
    double g = e * (one + e);
    double d = by_sign_d(x, one + (two * g), two + (e + g));
    slope[0] = ((four * g) * by_sign_d(x, e, one)) / (d * d);
    return one - (by_sign_d(x, two * (e * e), g) / d);
}

static double mish_d(double x)
{
    double zero = 0;
    double a = bounded_size_d(x);
    double rest;
    double magic;
    double _;
    double m = unscaled_exponential_d(-a, zero, &rest, &magic);
    double factor = mish_factor_d(x, scaled_d(m, magic), &_);
    return scaled_left_d(x, by_sign_d(x, x * factor, -((m * (a * factor)) + (rest * (a * factor)))), magic);
}

static float mish_factor_f(float x, float e, float *slope)
{
    float one = 1;
    float two = 2;
    float four = 4;
    float g = e * (one + e);
    float d = by_sign_f(x, one + (two * g), two + (e + g));
    slope[0] = ((four * g) * by_sign_f(x, e, one)) / (d * d);
    return one - (by_sign_f(x, two * (e * e), g) / d);
}

static float mish_f(float x)
{
    float zero = 0;
    float a = bounded_size_f(x);
    float rest;
    float magic;
    float _;
    float m = unscaled_exponential_f(-a, zero, &rest, &magic);
    float factor = mish_factor_f(x, scaled_f(m, magic), &_);
    return scaled_left_f(x, by_sign_f(x, x * factor, -((m * (a * factor)) + (rest * (a * factor)))), magic);
}

static void mish_forward_d(int32_t n, double *y)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        y[i] = mish_d(y[i]);
    }
}

static void mish_forward_f(int32_t n, float *y)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        y[i] = mish_f(y[i]);
    }
}

static double total_of(const double *parts)
{
    return ((parts[0] + parts[1]) + (parts[2] + parts[3])) + ((parts[4] + parts[5]) + (parts[6] + parts[7]));
}

static Moments moments_d(int32_t n, const double *x, double epsilon)
{
    double parts[8];
    double d;
    Moments row;
    int32_t i;
    int32_t k;
    int32_t whole = n - (n % 8);
    for (k = 0; k < 8; k++) {
        parts[k] = (whole + k < n ? x[whole + k] : 0);
    }
    for (i = 0; i < whole; i += 8) {
        for (k = 0; k < 8; k++) {
            parts[k] += x[i + k];
        }
    }
    row.mean = total_of(parts) / n;
    for (k = 0; k < 8; k++) {
        d = (whole + k < n ? x[whole + k] - row.mean : 0);
        parts[k] = d * d;
    }
    for (i = 0; i < whole; i += 8) {
        for (k = 0; k < 8; k++) {
            d = x[i + k] - row.mean;
            parts[k] += d * d;
        }
    }
    row.rstd = 1 / sqrt((total_of(parts) / n) + epsilon);
    return row;
}

static Moments moments_f(int32_t n, const float *x, double epsilon)
{
    double parts[8];
    double d;
    Moments row;
    int32_t i;
    int32_t k;
    int32_t whole = n - (n % 8);
    for (k = 0; k < 8; k++) {
        parts[k] = (whole + k < n ? x[whole + k] : 0);
    }
    for (i = 0; i < whole; i += 8) {
        for (k = 0; k < 8; k++) {
            parts[k] += x[i + k];
        }
    }
    row.mean = total_of(parts) / n;
    for (k = 0; k < 8; k++) {
        d = (whole + k < n ? x[whole + k] - row.mean : 0);
        parts[k] = d * d;
    }
    for (i = 0; i < whole; i += 8) {
        for (k = 0; k < 8; k++) {
            d = x[i + k] - row.mean;
            parts[k] += d * d;
        }
    }
    row.rstd = 1 / sqrt((total_of(parts) / n) + epsilon);
    return row;
}

static void relu_forward_d(int32_t n, double *y)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        y[i] = (y[i] <= 0 ? 0 : y[i]);
    }
}

static void relu_forward_f(int32_t n, float *y)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        y[i] = (y[i] <= 0 ? 0 : y[i]);
    }
}

static double sigmoid_d(double x)
{
    double one = 1;
    double zero = 0;
    double rest;
    double e = bounded_exponential_d(-bounded_size_d(x), zero, &rest);
    double d = one + e;
    double inverse = one / d;
    double above = by_sign_d(x, one, e);
    double y = above * inverse;
    double left = remainder_d(above, y, d) + by_sign_d(x, zero, rest);
    return y + ((left - (y * ((e - (d - one)) + rest))) * inverse);
}

static float sigmoid_f(float x)
{
    float one = 1;
    float zero = 0;
    float rest;
    float e = bounded_exponential_f(-bounded_size_f(x), zero, &rest);
    float d = one + e;
    float inverse = one / d;
    float above = by_sign_f(x, one, e);
    float y = above * inverse;
    float left = remainder_f(above, y, d) + by_sign_f(x, zero, rest);
    return y + ((left - (y * ((e - (d - one)) + rest))) * inverse);
}

static void sigmoid_forward_d(int32_t n, double *y)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        y[i] = sigmoid_d(y[i]);
    }
}

static void sigmoid_forward_f(int32_t n, float *y)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        y[i] = sigmoid_f(y[i]);
    }
}

static double silu_d(double x)
{
    double zero = 0;
    double a = bounded_size_d(x);
    return times_sigmoid_d(x, a, a, zero);
}

static float silu_f(float x)
{
    float zero = 0;
    float a = bounded_size_f(x);
    return times_sigmoid_f(x, a, a, zero);
}

static void silu_forward_d(int32_t n, double *y)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        y[i] = silu_d(y[i]);
    }
}

static void silu_forward_f(int32_t n, float *y)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        y[i] = silu_f(y[i]);
    }
}

static void softmax_forward_d(int32_t rows, int32_t n, int32_t ld, double *y)
{
    int32_t r;
    int32_t i;
    double top;
    double total;
    double lost;
    for (r = 0; r < rows; r++) {
        top = largest_d(n, y);
        for (i = 0; i < n; i++) {
            y[i] = exponential_below_d(y[i], top);
        }
        total = (sum_row_d(n, y, &lost) + lost);
        for (i = 0; i < n; i++) {
            y[i] = y[i] / total;
        }
        y += ld;
    }
}

static void softmax_forward_f(int32_t rows, int32_t n, int32_t ld, float *y)
{
    int32_t r;
    int32_t i;
    float top;
    float total;
    double lost;
    for (r = 0; r < rows; r++) {
        top = largest_f(n, y);
        for (i = 0; i < n; i++) {
            y[i] = exponential_below_f(y[i], top);
        }
        total = (float)(sum_row_f(n, y, &lost) + lost);
        for (i = 0; i < n; i++) {
            y[i] = y[i] / total;
        }
        y += ld;
    }
}

static double softplus_d(double x)
{
    double wide = x;
    double size = bounded_size_d(x);
    double zero = 0;
    double _;
    return (at_least_d(zero, wide) + log_one_plus_d(bounded_exponential_d(-size, zero, &_)));
}

static float softplus_f(float x)
{
    double wide = x;
    double size = bounded_size_f(x);
    double zero = 0;
    double _;
    return (float)(at_least_d(zero, wide) + log_one_plus_d(bounded_exponential_d(-size, zero, &_)));
}

static void softplus_forward_d(int32_t n, double *y)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        y[i] = softplus_d(y[i]);
    }
}

static void softplus_forward_f(int32_t n, float *y)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        y[i] = softplus_f(y[i]);
    }
}

static double softsign_d(double x)
{
    double one = 1;
    double most = 1e+30;
    double a = at_most_d(most, absolute_d(x));
    double d = one + a;
    double back = d - a;
    double inverse = one / d;
    double y = a * inverse;
    return with_sign_d(y + ((remainder_d(a, y, d) - (y * ((a - (d - back)) + (one - back)))) * inverse), x);
}

static float softsign_f(float x)
{
    float one = 1;
    float most = 1e+30f;
    float a = at_most_f(most, absolute_f(x));
    float d = one + a;
    float back = d - a;
    float inverse = one / d;
    float y = a * inverse;
    return with_sign_f(y + ((remainder_f(a, y, d) - (y * ((a - (d - back)) + (one - back)))) * inverse), x);
}

static void softsign_forward_d(int32_t n, double *y)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        y[i] = softsign_d(y[i]);
    }
}

static void softsign_forward_f(int32_t n, float *y)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        y[i] = softsign_f(y[i]);
    }
}

static void tanh_forward_d(int32_t n, double *y)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        y[i] = hyperbolic_tangent_d(y[i]);
    }
}

static void tanh_forward_f(int32_t n, float *y)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        y[i] = hyperbolic_tangent_f(y[i]);
    }
}
