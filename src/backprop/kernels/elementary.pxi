# Functions of one number, which have no branch and call nothing: so the compiler turns plain loops into vectors.
#
# e^x = 2^n e^r with n = round(x / ln 2), r = x - n ln 2; constants from tools/polynomials.py.
#
# Where rounding would add up, a result is corrected by what a sum lost (Dekker, "A floating-point technique for
# extending the available precision", 1971): for s = a + b with |a| >= |b|, that is b - (s - a). Ones and twos are
# variables, since a literal would make the arithmetic double.

from libc.math cimport copysign, copysignf, cos, fabs, fabsf, log, sin
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef extern from "simd.h" nogil:
    const float MAGIC_F
    const double MAGIC_D
    int32_t exponent_f(float magic)
    int64_t exponent_d(double magic)
    float power_of_two_f(int32_t n)
    double power_of_two_d(int64_t n)
    float product_error_f(float a, float b, float p)
    double product_error_d(double a, double b, double p)
    float remainder_f(float a, float y, float d)
    double remainder_d(double a, double y, double d)
    float by_sign_f(float x, float right, float left)
    double by_sign_d(double x, double right, double left)
    float choose_f(bint condition, float a, float b)
    double choose_d(bint condition, double a, double b)


cdef inline real absolute(real x) noexcept nogil:
    if real is float:
        return fabsf(x)
    else:
        return fabs(x)


cdef inline real with_sign(real x, real sign) noexcept nogil:
    return copysignf(x, sign) if real is float else copysign(x, sign)


cdef inline real by_sign(real x, real right, real left) noexcept nogil:
    return by_sign_f(x, right, left) if real is float else by_sign_d(x, right, left)


cdef inline real product_error(real a, real b, real p) noexcept nogil:
    """What p, the product of a and b, has lost."""
    return product_error_f(a, b, p) if real is float else product_error_d(a, b, p)


cdef inline real remainder(real a, real y, real d) noexcept nogil:
    """a - y d, where y is close to a / d: but for its rounding, exact."""
    return remainder_f(a, y, d) if real is float else remainder_d(a, y, d)


cdef inline real magic_exponent(real x) noexcept nogil:
    """n, as the lowest bits of a number (see simd.h)."""
    if real is float:
        return x * <float> 1.4426950408889634 + MAGIC_F
    else:
        return x * 1.4426950408889634 + MAGIC_D


cdef inline real reduced(real x, real magic) noexcept nogil:
    """r; n times the first part of ln 2 is exact."""
    cdef real n
    if real is float:
        n = magic - MAGIC_F
        return x - n * <float> 0.69317626953125 - n * <float> -0.000029088971304690582768
    else:
        n = magic - MAGIC_D
        return x - n * 0.69314718056011770386 - n * -1.7239444525614834773e-13


cdef inline real expm1_tail(real r) noexcept nogil:
    """e^r - 1 - r for |r| <= ln(2) / 2: a polynomial, its even and its odd powers side by side."""
    cdef real s = r * r, even, odd
    if real is float:
        even = <float> 0.0013814613353220691206
        even = even * s + <float> 0.041668387359455825226
        even = even * s + <float> 0.49999993451717146768
        odd = <float> 0.0083687098259067569207
        odd = odd * s + <float> 0.16666520689815336394
    else:
        even = 2.7630233934148925183e-7
        even = even * s + 0.000024801493136149113597
        even = even * s + 0.0013888888943597725242
        even = even * s + 0.041666666666530265952
        even = even * s + 0.50000000000000106167
        odd = 2.5000071142422296276e-8
        odd = odd * s + 2.7557586270567930537e-6
        odd = odd * s + 0.00019841269506774186082
        odd = odd * s + 0.0083333333334943361036
        odd = odd * s + 0.16666666666666412769
    return s * (odd * r + even)


cdef inline real scaled(real y, real magic) noexcept nogil:
    """2^n y, in halves, which are in range where their product is not."""
    if real is float:
        return y * power_of_two_f(exponent_f(magic) >> 1) * power_of_two_f((exponent_f(magic) + 1) >> 1)
    else:
        return y * power_of_two_d(exponent_d(magic) >> 1) * power_of_two_d((exponent_d(magic) + 1) >> 1)


cdef inline real at_least(real least, real x) noexcept nogil:
    return least if x < least else x                    # a NaN stays one


cdef inline real at_most(real most, real x) noexcept nogil:
    return most if x > most else x


cdef inline real exponential_of_reduced(real r, real *rest) noexcept nogil:
    """e^r for |r| <= ln(2) / 2, and the rest that it has lost."""
    cdef real one = 1, more = r + expm1_tail(r), y = one + more
    rest[0] = more - (y - one)
    return y


cdef inline real unscaled_exponential(real x, real low, real *rest, real *magic) noexcept nogil:
    """e^(x + low) / 2^n, for a low that x alone has lost, and the rest that the result has lost.

    |x| is at most 150, or 1000 in double. The caller sees to it, on the one side that can be: were x cut off on both
    sides here, GCC would follow each side on its own, and make no vectors of doubles with SSE2.
    """
    magic[0] = magic_exponent(x)
    return exponential_of_reduced(reduced(x, magic[0]) + low, rest)


cdef inline real bounded_exponential(real x, real *rest) noexcept nogil:
    """e^x, and the rest that it has lost, for the same x."""
    cdef real magic = magic_exponent(x), y = exponential_of_reduced(reduced(x, magic), rest)
    rest[0] = scaled(rest[0], magic)
    return scaled(y, magic)


cdef inline real exponential(real x, real low, real *rest) noexcept nogil:
    """e^(x + low), and the rest that it has lost, for every x."""
    cdef real most = 89 if real is float else 710, least = -104 if real is float else -746, magic
    cdef real y = unscaled_exponential(at_least(least, at_most(most, x)), low, rest, &magic)
    rest[0] = scaled(rest[0], magic)
    return scaled(y, magic)


cdef inline real bounded_size(real x) noexcept nogil:
    """|x|, but not far beyond where x e^-|x| is zero."""
    cdef real most = 150 if real is float else 1000
    return at_most(most, absolute(x))


cdef inline real exponential_minus_one(real x, real *low) noexcept nogil:
    """e^x - 1 = 2^n (e^r - 1) + (2^n - 1) for |x| <= 40, in two parts."""
    cdef real one = 1, magic = magic_exponent(x), r = reduced(x, magic), tail = expm1_tail(r), high = r + tail, y
    cdef real scale = power_of_two_f(exponent_f(magic)) if real is float else power_of_two_d(exponent_d(magic))
    y = scale * high + (scale - one)
    low[0] = scale * high - (y - (scale - one)) + scale * (tail - (high - r))
    return y


cdef inline real log_one_plus(real e) noexcept nogil:
    """log(1 + e) for 0 <= e <= 1."""
    cdef real two = 2, s = e / (two + e), w = s * s, q
    if real is float:
        q = <float> 0.28011987084289724652
        q = q * w + <float> 0.28001805219024680841
        q = q * w + <float> 0.40021527242344496198
        q = q * w + <float> 0.66666416285612970077
    else:
        q = 0.17009762389008727923
        q = q * w + 0.083449685299239254319
        q = q * w + 0.12104945557524284477
        q = q * w + 0.13301121298602306812
        q = q * w + 0.15386548398790992428
        q = q * w + 0.18181744478779769114
        q = q * w + 0.22222223953655317395
        q = q * w + 0.28571428548117847252
        q = q * w + 0.40000000000155117579
        q = q * w + 0.66666666666666309697
    return two * s + s * w * q


cdef inline real normal_tail(real u) noexcept nogil:
    """(a + 3/2) e^(a^2/2) (1 - Phi(a)) for u = a / (a + 3/2), a >= 0."""
    cdef real middle = 0.375, v = u - middle, q
    if real is float:
        q = <float> 0.29019065148972294122
        q = q * v + <float> 0.06713844043435713563
        q = q * v + <float> -0.19582382895128057828
        q = q * v + <float> -0.1824117702312527993
        q = q * v + <float> -0.095115126916127470664
        q = q * v + <float> 0.031101566372630901241
        q = q * v + <float> 0.1605805694167069281
        q = q * v + <float> 0.1849141819592772171
        q = q * v + <float> 0.025585661553972445622
        q = q * v + <float> -0.26008000143027637107
        q = q * v + <float> -0.32802126587723530338
        q = q * v + <float> 0.66230833328475618421
    else:
        q = -73.314371348039975209
        q = q * v + 31.706587085729968781
        q = q * v + 270.83677452294810491
        q = q * v + -286.0770791783958543
        q = q * v + -104.63311029555344126
        q = q * v + 233.05589746135805317
        q = q * v + -23.072663499174619473
        q = q * v + -84.902376700719827517
        q = q * v + 26.47716065454995407
        q = q * v + 18.108065033462740338
        q = q * v + -7.9333677612325249929
        q = q * v + -2.0943978052733935768
        q = q * v + 1.287085641922229314
        q = q * v + -0.18873562282795149653
        q = q * v + -0.4842739664871874872
        q = q * v + -0.19473922449777643453
        q = q * v + -0.018981336779978442379
        q = q * v + 0.11335346840053131643
        q = q * v + 0.19503411695383224614
        q = q * v + 0.18807457992058561945
        q = q * v + 0.10064709942402865295
        q = q * v + -0.025451350775773222439
        q = q * v + -0.13221304188382130981
        q = q * v + -0.16655733670150038135
        q = q * v + -0.10453845486332432675
        q = q * v + 0.029862213677101575623
        q = q * v + 0.16122700647001715863
        q = q * v + 0.18495834127364732014
        q = q * v + 0.025567154733471290304
        q = q * v + -0.26008059192960090227
        q = q * v + -0.32802111632278301139
        q = q * v + 0.66230833462358013416
    return q


cdef inline real sigmoid(real x) noexcept nogil:
    """1 / (1 + e^-x), by way of e^-|x|, which cannot overflow.

    What e, the sum and the quotient have lost is put back: so but for the last rounding, which cannot turn two numbers
    round, the answer is a function of e alone, and rises as that falls.
    """
    cdef real one = 1, zero = 0, rest
    cdef real e = bounded_exponential(-bounded_size(x), &rest)
    cdef real d = one + e, inverse = one / d, above = by_sign(x, one, e), y = above * inverse
    cdef real left = remainder(above, y, d) + by_sign(x, zero, rest)
    return y + (left - y * ((e - (d - one)) + rest)) * inverse


cdef inline real sigmoid_and_slope(real x, real *slope) noexcept nogil:
    """1 / (1 + e^-x), and its derivative."""
    cdef real one = 1, zero = 0, _, e = bounded_exponential(-bounded_size(x), &_), d = one / (one + e)
    slope[0] = e * d * d
    return by_sign(x, d, e * d)


cdef inline real softsign(real x) noexcept nogil:
    """x / (1 + |x|), which is 1 in size long before |x| is infinite."""
    cdef real one = 1, most = 1e30, a = at_most(most, absolute(x)), d = one + a, back = d - a
    cdef real inverse = one / d, y = a * inverse
    return with_sign(y + (remainder(a, y, d) - y * ((a - (d - back)) + (one - back))) * inverse, x)


cdef inline real hyperbolic_tangent(real x) noexcept nogil:
    """E / (E + 2) with the sign of x, where E = e^2|x| - 1."""
    cdef real one = 1, two = 2, most = 40, low, e = exponential_minus_one(at_most(most, two * absolute(x)), &low)
    cdef real d = e + two, back = d - e, inverse = one / d, y = e * inverse
    y = y + (remainder(e, y, d) + low - y * ((e - (d - back)) + (two - back) + low)) * inverse
    return with_sign(y, x)


cdef inline real elu(real x, real right, real left) noexcept nogil:
    """right x above zero, left (e^x - 1) below."""
    cdef real least = -40, low, y = exponential_minus_one(at_least(least, x), &low)
    return by_sign(x, right * x, left * (y + low))


cdef inline real softplus(real x) noexcept nogil:
    """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), in double, since one term rises while the other falls."""
    cdef double wide = x, size = bounded_size(x), zero = 0, _
    return <real> (at_least(zero, wide) + log_one_plus(bounded_exponential(-size, &_)))


# The others vanish with e^x, or faster, on the left. There the power of two comes last, lest a subnormal number be
# rounded and then multiplied.

cdef inline real scaled_left(real x, real y, real magic) noexcept nogil:
    """2^n y, but y for x on the right of zero."""
    cdef real unscaled = MAGIC_F if real is float else MAGIC_D
    return scaled(y, by_sign(x, unscaled, magic))


cdef inline real times_sigmoid(real x, real a, real v, real low) noexcept nogil:
    """x / (1 + e^-(v + low)), where a = |x|, and v + low is given for it."""
    cdef real one = 1, magic, _, m = unscaled_exponential(-v, -low, &_, &magic)
    return scaled_left(x, by_sign(x, x, -a * m) / (one + scaled(m, magic)), magic)


cdef inline real silu(real x) noexcept nogil:
    """x sigmoid(x)"""
    cdef real zero = 0, a = bounded_size(x)
    return times_sigmoid(x, a, a, zero)


cdef inline real silu_derivative(real x) noexcept nogil:
    """sigmoid(x) + x sigmoid'(x)"""
    cdef real slope, y = sigmoid_and_slope(x, &slope)
    return y + x * slope


cdef inline real gelu_cubic(real a, real *low) noexcept nogil:
    """2 sqrt(2 / pi) (a + 0.044715 a^3), in two parts, since e to its power multiplies what it has lost."""
    cdef real first, third, more, s = a * a, t, u, v, back
    if real is float:
        first, third = <float> 1.5957691669464111, <float> 0.07135481387376785
        more = s * <float> 2.3988323959931356273e-9 - <float> 4.534068042105271576e-8
    else:
        first, third = 1.5957691216057308, 0.07135481627260025
        more = s * -6.1751499181552071446e-19 - 9.9693088091109140146e-17
    t = third * s
    u = first + t
    v = a * u
    back = u - first
    more = more + product_error(third, s, t) + third * product_error(a, a, s) + (first - (u - back)) + (t - back)
    low[0] = product_error(a, u, v) + a * more
    return v


cdef inline real gelu_tanh(real x) noexcept nogil:
    """x (1 + tanh(v / 2)) / 2 = x sigmoid(v) with the cubic v"""
    cdef real most = 12 if real is float else 23, a = at_most(most, absolute(x)), low, v = gelu_cubic(a, &low)
    return times_sigmoid(x, a, v, low)


cdef inline real gelu_tanh_derivative(real x) noexcept nogil:
    """sigmoid(v) + x sigmoid'(v) v'"""
    cdef real most = 12 if real is float else 23, first = 1.5957691216057308, thrice_third = 3 * 0.07135481627260025
    cdef real a = at_most(most, absolute(x)), slope, _, y = sigmoid_and_slope(with_sign(gelu_cubic(a, &_), x), &slope)
    return y + with_sign(a, x) * slope * (first + thrice_third * (a * a))


cdef inline real minus_half_square(real a, real *low) noexcept nogil:
    """-a^2 / 2 in two parts."""
    cdef real half = 0.5, s = a * a
    low[0] = -half * product_error(a, a, s)
    return -half * s


cdef inline real gelu(real x) noexcept nogil:
    """x Phi(x) = max(x, 0) - a (1 - Phi(a)), a = |x|"""
    cdef real zero = 0, near = 1.5, most = 15 if real is float else 39, a = at_most(most, absolute(x)), low, rest, magic
    cdef real power = minus_half_square(a, &low), e = unscaled_exponential(power, low, &rest, &magic)
    cdef real u = a / (a + near), y = u * normal_tail(u)
    return at_least(zero, x) - scaled(e * y + rest * y, magic)


cdef inline real gelu_derivative(real x) noexcept nogil:
    """Phi(x) + x e^(-x^2/2) / sqrt(2 pi), left of zero; right of it, one less that at -x"""
    cdef real one = 1, near = 1.5, inverse = 0.66666666666666666667, density = 0.398942280401432677939946059934
    cdef real most = 15 if real is float else 39, a = at_most(most, absolute(x)), low, _, magic
    cdef real power = minus_half_square(a, &low), e = unscaled_exponential(power, low, &_, &magic)
    cdef real u = a / (a + near), left = scaled(e, magic) * (inverse * (one - u) * normal_tail(u) - density * a)
    return by_sign(x, one - left, left)


cdef inline real mish_factor(real x, real e, real *slope) noexcept nogil:
    """t = tanh(log(1 + e^x)) = 1 - 2 / (1 + (1 + e^x)^2) from e = e^-|x|, but t / e left of zero; and the slope."""
    cdef real one = 1, two = 2, four = 4, g = e * (one + e), d = by_sign(x, one + two * g, two + (e + g))
    slope[0] = four * g * by_sign(x, e, one) / (d * d)
    return one - by_sign(x, two * (e * e), g) / d


cdef inline real mish(real x) noexcept nogil:
    """x t"""
    cdef real zero = 0, a = bounded_size(x), rest, magic, _, m = unscaled_exponential(-a, zero, &rest, &magic)
    cdef real factor = mish_factor(x, scaled(m, magic), &_)
    return scaled_left(x, by_sign(x, x * factor, -(m * (a * factor) + rest * (a * factor))), magic)


cdef inline real mish_derivative(real x) noexcept nogil:
    """t + x t'"""
    cdef real zero = 0, slope, _, e = bounded_exponential(-bounded_size(x), &_)
    cdef real factor = mish_factor(x, e, &slope)
    return by_sign(x, factor, e * factor) + x * slope


cdef inline real exponential_below(real x, real top) noexcept nogil:
    """e^(x - top), with what the difference loses, unless it is infinite."""
    cdef real d = x - top, back = d - x, low = (x - (d - back)) - (top + back), zero = 0, one = 1, _
    return exponential(d, low if absolute(low) < one else zero, &_)


cdef inline double smallest(const real *_) noexcept nogil:
    """The smallest normal number of this type."""
    return 1.1754943508222875e-38 if real is float else 2.2250738585072014e-308


cdef inline real square_root(real x) noexcept nogil:
    return sqrtf(x) if real is float else sqrt(x)


cdef inline real choose(bint condition, real a, real b) noexcept nogil:
    return choose_f(condition, a, b) if real is float else choose_d(condition, a, b)


cdef inline real sign(real x) noexcept nogil:
    cdef real one = 1, zero = 0                     # a literal would make the arithmetic double
    return choose(x > 0, one, choose(x < 0, -one, zero))


cdef inline double turned(double x, int quarters) noexcept nogil:
    """sin(x + quarters pi/2) for |x| <= 10^6: x = n pi/2 + r + low, then one of two polynomials in r.

    Reduction and polynomials are those of fdlibm (Sun Microsystems, 1993), e_rem_pio2.c, k_sin.c and k_cos.c.
    """
    cdef double magic = x * 0.63661977236758134308 + MAGIC_D, n = magic - MAGIC_D, high, part, r, low, s, y, half, c
    cdef int64_t turn = exponent_d(magic) + quarters
    high = x - n * 1.57079632673412561417
    part = n * 6.07710050630396597660e-11
    r = high - part
    low = ((high - r) - part) - n * 2.02226624879595063154e-21
    s = r * r
    y = 1.58969099521155010221e-10
    y = y * s + -2.50507602534068634195e-08
    y = y * s + 2.75573137070700676789e-06
    y = y * s + -1.98412698298579493134e-04
    y = y * s + 8.33333333332248946124e-03
    y = y * s + -1.66666666666666324348e-01
    y = r + (r * s * y + low * (1 - 0.5 * s))
    c = -1.13596475577881948265e-11
    c = c * s + 2.08757232129817482790e-09
    c = c * s + -2.75573143513906633035e-07
    c = c * s + 2.48015872894767294178e-05
    c = c * s + -1.38888888888741095749e-03
    c = c * s + 4.16666666666666019037e-02
    half = 1 - 0.5 * s
    c = half + (((1 - half) - 0.5 * s) + (s * s * c - r * low))
    y = choose_d(turn & 1, c, y)
    return choose_d((turn >> 1) & 1, -y, y)


cdef inline real fraction_of(real x) noexcept nogil:
    """x less a whole number: from -1/2 to 1/2, or a whole number itself where x has no fraction."""
    if real is float:
        return x - ((x + <float> 12582912.0) - <float> 12582912.0)
    else:
        return x - ((x + 6755399441055744.0) - 6755399441055744.0)


cdef inline real cosine_of_turns(real u) noexcept nogil:
    """cos(2 pi u) for |u| <= 1/2: sin(2 pi s) with s = 1/4 - |u|, by a polynomial."""
    cdef real quarter = 0.25, s = quarter - absolute(u), v = s * s, y
    if real is float:
        y = <float> 39.710918110326304016
        y = y * v + <float> -76.57499217805936069
        y = y * v + <float> 81.602231242593077512
        y = y * v + <float> -41.341677478390632173
        y = y * v + <float> 6.2831852737907968177
    else:
        y = 0.10085633011882359557
        y = y * v + -0.7177235800785856565
        y = y * v + 3.8199270504810269558
        y = y * v + -15.094641620510651312
        y = y * v + 42.058693923785274223
        y = y * v + -76.705859752798498357
        y = y * v + 81.605249276073406102
        y = y * v + -41.34170224039975623
        y = y * v + 6.2831853071795864753
    return s * y
