#pragma once

#include "optim/core/method_traits.hpp"
#include "optim/methods/adadelta.hpp"
#include "optim/methods/adagrad.hpp"
#include "optim/methods/adam.hpp"
#include "optim/methods/adamax.hpp"
#include "optim/methods/adamw.hpp"
#include "optim/methods/ademamix.hpp"
#include "optim/methods/adopt.hpp"
#include "optim/methods/asgd.hpp"
#include "optim/methods/laprop.hpp"
#include "optim/methods/lion.hpp"
#include "optim/methods/mars_adamw.hpp"
#include "optim/methods/mars_lion.hpp"
#include "optim/methods/nadam.hpp"
#include "optim/methods/nadamw.hpp"
#include "optim/methods/prodigy.hpp"
#include "optim/methods/radam.hpp"
#include "optim/methods/rmsprop.hpp"
#include "optim/methods/rprop.hpp"
#include "optim/methods/schedulefree_adamw.hpp"
#include "optim/methods/schedulefree_sgd.hpp"
#include "optim/methods/sgd.hpp"
#include "optim/methods/signum.hpp"
#include "optim/methods/sophia.hpp"

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
