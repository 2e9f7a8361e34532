#pragma once

#include "optim/methods/matrix/adafactor.hpp"
#include "optim/methods/matrix/adam_mini.hpp"
#include "optim/methods/matrix/dion.hpp"
#include "optim/methods/matrix/kron.hpp"
#include "optim/methods/matrix/muon.hpp"
#include "optim/methods/matrix/normuon.hpp"
#include "optim/methods/matrix/scion.hpp"
#include "optim/methods/matrix/soap.hpp"

// The methods whose step looks at a tensor as a whole, as the list of elementwise.hpp.
#define SCALEVEC_MATRIX_METHODS(FIRST, NEXT) \
  FIRST(muon, Muon)                          \
  NEXT(normuon, NorMuon)                     \
  NEXT(soap, SOAP)                           \
  NEXT(dion, Dion)                           \
  NEXT(scion, Scion)                         \
  NEXT(kron, Kron)                           \
  NEXT(adafactor, Adafactor)                 \
  NEXT(adam_mini, AdamMini)

namespace scalevec {

#define SCALEVEC_TYPE(name, type) methods::type
#define SCALEVEC_NEXT_TYPE(name, type) , methods::type
using MatrixMethods = TypeList<SCALEVEC_MATRIX_METHODS(SCALEVEC_TYPE, SCALEVEC_NEXT_TYPE)>;
#undef SCALEVEC_TYPE
#undef SCALEVEC_NEXT_TYPE

}  // namespace scalevec
