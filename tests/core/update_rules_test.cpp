#include "scalevec/tests/support/catch.hpp"
