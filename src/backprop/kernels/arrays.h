/* NumPy's arrays as modules know them that are compiled with its headers (ndarraytypes.h, __multiarray_api.h): the fields
 * of an array, and the places of what its table of functions holds. Its ABI fixes both; where it is another one, there is
 * no table. They are written down here, as no header of NumPy's is in the build. */
#ifndef BACKPROP_ARRAYS_H
#define BACKPROP_ARRAYS_H

#include <Python.h>

#define ARRAY_ABI 0x02000000u

typedef struct {
    PyObject_HEAD
    PyTypeObject *scalar;
    char kind, type, byteorder, former_flags;
    int number;
} Dtype;

typedef struct {
    PyObject_HEAD
    char *data;
    int ndim;
    Py_ssize_t *shape, *strides;
    PyObject *base;
    Dtype *dtype;
    int flags;
} Array;

enum { CARRAY_RO = 0x0001 | 0x0100, CARRAY = CARRAY_RO | 0x0400 }; /* C-contiguous and aligned; and writeable */
enum { OF_FLOAT = 11, OF_DOUBLE = 12 }; /* numbers of types */
#define WARNS_OF_WRITING ((int)(1u << 31))

typedef unsigned int (*AbiOf)(void);
typedef PyObject *(*NewFromDescr)(
    PyTypeObject *, Dtype *, int, const Py_ssize_t *, const Py_ssize_t *, void *, int, PyObject *);

static void **array_api = NULL;

static int find_array_api(PyObject *capsule) {
    void **api = (void **)PyCapsule_GetPointer(capsule, NULL);
    if (api == NULL) return -1;
    if (((AbiOf)api[0])() == ARRAY_ABI) array_api = api;
    return 0;
}

static inline int is_array(PyObject *x) { return Py_TYPE(x) == (PyTypeObject *)array_api[2]; }

static inline PyObject *new_rows(PyObject *dtype, Py_ssize_t rows, Py_ssize_t n) {
    Py_ssize_t shape[2] = {rows, n};
    Py_INCREF(dtype); /* which the array takes over */
    return ((NewFromDescr)array_api[94])((PyTypeObject *)array_api[2], (Dtype *)dtype, 2, shape, NULL, NULL, 0, NULL);
}

#endif
