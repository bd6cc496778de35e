# What the objects that Python sees have in common: memory that the kernels run in, and checks of arguments.

from libc.stdlib cimport calloc, free, malloc


cdef class Memory:
    """Memory, zeroed if not said otherwise, handed out in pieces aligned to the widest register."""
    cdef char *base
    cdef size_t used

    def __dealloc__(self):
        free(self.base)

    cdef int reserve(self, double size, bint zeroed=True) except -1:
        """Room for pieces of so many bytes together, and for their alignment."""
        size += 4096
        if size < 4e18:
            self.base = <char *> (calloc(<size_t> size, 1) if zeroed else malloc(<size_t> size))
        if self.base == NULL:
            raise MemoryError(f"no {size / 2 ** 30:.1f} GiB for a workspace: fewer rows at a time need less")
        self.used = 64 - <size_t> self.base % 64
        return 0

    cdef void *take(self, double size) noexcept:
        cdef void *piece = self.base + self.used
        self.used += (<size_t> size + 63) // 64 * 64
        return piece


cdef int expect(bint condition, str what) except -1:
    if not condition:
        raise ValueError(f"expected {what}")
    return 0
