#pragma once

namespace scalevec::experiments {

// OpenMP's threads wait for each other by spinning, which on a machine shared with others costs whole time slices at
// each of a step's hundreds of barriers. Its library reads how long to spin when it is loaded: where the environment
// does not say (OMP_WAIT_POLICY, GOMP_SPINCOUNT), this starts the program anew with a short spin, after which threads
// sleep. Call it first; `argv` is main()'s.
void wait_with_short_spins(char** argv);

}  // namespace scalevec::experiments
