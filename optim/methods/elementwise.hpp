#pragma once

#include "scalevec/optim/core/method_traits.hpp"
#include "scalevec/optim/methods/adadelta.hpp"
#include "scalevec/optim/methods/adagrad.hpp"
#include "scalevec/optim/methods/adam.hpp"
#include "scalevec/optim/methods/adamax.hpp"
#include "scalevec/optim/methods/adamw.hpp"
#include "scalevec/optim/methods/ademamix.hpp"
#include "scalevec/optim/methods/adopt.hpp"
#include "scalevec/optim/methods/asgd.hpp"
#include "scalevec/optim/methods/laprop.hpp"
#include "scalevec/optim/methods/lion.hpp"
#include "scalevec/optim/methods/mars_adamw.hpp"
#include "scalevec/optim/methods/mars_lion.hpp"
#include "scalevec/optim/methods/nadam.hpp"
#include "scalevec/optim/methods/nadamw.hpp"
#include "scalevec/optim/methods/prodigy.hpp"
#include "scalevec/optim/methods/radam.hpp"
#include "scalevec/optim/methods/rmsprop.hpp"
#include "scalevec/optim/methods/rprop.hpp"
#include "scalevec/optim/methods/schedulefree_adamw.hpp"
#include "scalevec/optim/methods/schedulefree_sgd.hpp"
#include "scalevec/optim/methods/sgd.hpp"
#include "scalevec/optim/methods/signum.hpp"
#include "scalevec/optim/methods/sophia.hpp"

// The elementwise methods, each by its name in policies and its type: FIRST(name, type), NEXT(name, type) …. Kernels on
// the CPU and on CUDA, options, optimizers, simulations and suites follow from this list. No LibTorch here.
#define SCALEVEC_ELEMENTWISE_METHODS(FIRST, NEXT) \
  FIRST(adamw, AdamW)                             \
  NEXT(adam, Adam)                                \
  NEXT(sgd, SGD)                                  \
  NEXT(lion, Lion)                                \
  NEXT(signum, Signum)                            \
  NEXT(ademamix, AdEMAMix)                        \
  NEXT(mars_adamw, MarsAdamW)                     \
  NEXT(mars_lion, MarsLion)                       \
  NEXT(sophia, Sophia)                            \
  NEXT(prodigy, Prodigy)                          \
  NEXT(schedulefree_adamw, ScheduleFreeAdamW)     \
  NEXT(schedulefree_sgd, ScheduleFreeSGD)         \
  NEXT(nadam, NAdam)                              \
  NEXT(nadamw, NAdamW)                            \
  NEXT(radam, RAdam)                              \
  NEXT(adamax, Adamax)                            \
  NEXT(adagrad, Adagrad)                          \
  NEXT(rmsprop, RMSprop)                          \
  NEXT(adadelta, Adadelta)                        \
  NEXT(rprop, Rprop)                              \
  NEXT(asgd, ASGD)                                \
  NEXT(laprop, LaProp)                            \
  NEXT(adopt, ADOPT)

namespace scalevec {

#define SCALEVEC_TYPE(name, type) methods::type
#define SCALEVEC_NEXT_TYPE(name, type) , methods::type
using ElementwiseMethods = TypeList<SCALEVEC_ELEMENTWISE_METHODS(SCALEVEC_TYPE, SCALEVEC_NEXT_TYPE)>;
#undef SCALEVEC_TYPE
#undef SCALEVEC_NEXT_TYPE

}  // namespace scalevec
