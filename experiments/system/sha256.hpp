#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace scalevec::experiments {

// SHA-256 (FIPS 180-4) as 64 lower-case hexadecimal digits, as `sha256sum` prints it.
std::string sha256(std::string_view bytes);

// The same for the content of a file. Throws UsageError if it cannot be read.
std::string sha256_file(const std::filesystem::path& file);

}  // namespace scalevec::experiments
