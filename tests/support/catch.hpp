#pragma once

// Catch2 2 (Debian 12) or 3 (Ubuntu 24.04). c10 defines CHECK: include LibTorch before this header.
#undef CHECK
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif
