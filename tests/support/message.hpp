#pragma once

#include <exception>
#include <functional>
#include <string>

// What f throws says; empty if it throws nothing.
inline std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const std::exception& e) {
    return e.what();
  }
  return "";
}
