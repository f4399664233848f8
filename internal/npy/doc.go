// Package npy reads and writes the headers of NumPy's .npy files, versions 1.0, 2.0 and 3.0, and
// translates between NumPy's types and the layouts of package schema, one to one in both directions.
//
// The format is specified in the documentation of numpy.lib.format: eight bytes of magic and version,
// the length of a Python literal (a dict with the keys descr, fortran_order and shape), that literal,
// and the elements. Nothing in a file is trusted, and nothing in it is executed.
package npy
