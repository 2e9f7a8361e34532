#include "experiments/system/sha256.hpp"

#include <openssl/evp.h>

#include "experiments/errors.hpp"
#include "experiments/system/mapped_file.hpp"

namespace scalevec::experiments {

std::string sha256(std::string_view bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest, &length, EVP_sha256(), nullptr) != 1) {
    throw RunError("OpenSSL cannot compute SHA-256");
  }
  constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (unsigned int i = 0; i < length; ++i) {
    hex += kDigits[digest[i] >> 4];
    hex += kDigits[digest[i] & 15];
  }
  return hex;
}

std::string sha256_file(const std::filesystem::path& file) { return sha256(MappedFile(file).bytes()); }

}  // namespace scalevec::experiments
