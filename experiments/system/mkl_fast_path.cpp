// The MKL inside LibTorch asks this function whether the processor is Intel's, and takes a slow path on others. The
// program's own definition answers yes; it is linked with exported symbols so that the library finds it. The test
// `mkl_fast_path` holds products under it against a plain reference. Off with -DSCALEVEC_FAST_MKL=OFF.
extern "C" int mkl_serv_intel_cpu_true() { return 1; }
