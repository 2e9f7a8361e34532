#pragma once

// Every result of the theory: closed forms and simulations. Stated accuracies hold while squares and products of the
// arguments stay within double precision's range.
#include "scalevec/theory/branches.hpp"
#include "scalevec/theory/domain.hpp"
#include "scalevec/theory/flow.hpp"
#include "scalevec/theory/input_scale_decay.hpp"
#include "scalevec/theory/integrate.hpp"
#include "scalevec/theory/lanczos.hpp"
#include "scalevec/theory/magnitude_direction.hpp"
#include "scalevec/theory/muon.hpp"
#include "scalevec/theory/output_scale_decay.hpp"
#include "scalevec/theory/placement.hpp"
#include "scalevec/theory/power_law.hpp"
#include "scalevec/theory/reparameterisation.hpp"
#include "scalevec/theory/scale_invariance.hpp"
#include "scalevec/theory/simulate/batch_optimizer.hpp"
#include "scalevec/theory/simulate/output_scale.hpp"
#include "scalevec/theory/simulate/replica_optimizer.hpp"
#include "scalevec/theory/simulate/scaled_map.hpp"
#include "scalevec/theory/spectra.hpp"
