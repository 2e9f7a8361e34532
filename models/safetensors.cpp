#include "models/safetensors.hpp"

#include <fcntl.h>
#include <torch/types.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <fstream>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "optim/config/checksum.hpp"

namespace scalevec::models {
namespace {

using nlohmann::json;

struct DtypeName {
  const char* name;
  torch::Dtype dtype;
};
constexpr DtypeName kDtypes[] = {{"F64", torch::kFloat64},   {"F32", torch::kFloat32}, {"F16", torch::kFloat16},
                                 {"BF16", torch::kBFloat16}, {"I64", torch::kInt64},   {"I32", torch::kInt32},
                                 {"I16", torch::kInt16},     {"I8", torch::kInt8},     {"U8", torch::kUInt8},
                                 {"BOOL", torch::kBool}};

// A header beyond this is refused unread; the format's own reader has the same limit.
constexpr std::uint64_t kMaxHeader = 100'000'000;

// As it stands in the header's text, digits and closing quote left out. Quotes in a tensor's name would be escaped.
constexpr std::string_view kChecksumMember = "\"__metadata__\":{\"checksum\":\"xxh3:";
constexpr std::size_t kChecksumDigits = kNoChecksumDigits.size();

// Bytes are hashed and moved in pieces that stay in the cache between the two.
constexpr std::size_t kPiece = std::size_t{1} << 18;

// How often the disk is told to begin while a file is written.
constexpr std::uint64_t kBehind = std::uint64_t{4} << 20;

// A file of less is hashed by the thread that reads it.
constexpr std::uint64_t kWorthAThread = std::uint64_t{4} << 20;

// Adds bytes to a checksum, in order, on a thread of its own while the caller reads the next ones. They must stay until
// the end of this object, which is when the checksum is complete.
class HashBehind {
 public:
  explicit HashBehind(Checksum& sum) : sum_(sum), thread_([this] { run(); }) {}
  ~HashBehind() {
    add({});
    thread_.join();
  }
  HashBehind(const HashBehind&) = delete;
  HashBehind& operator=(const HashBehind&) = delete;

  // Nothing: there are no more.
  void add(std::string_view bytes) {
    {
      const std::lock_guard lock(mutex_);
      waiting_.push_back(bytes);
    }
    more_.notify_one();
  }

 private:
  void run() {
    while (true) {
      std::unique_lock lock(mutex_);
      more_.wait(lock, [this] { return !waiting_.empty(); });
      const std::string_view bytes = waiting_.front();
      waiting_.pop_front();
      lock.unlock();
      if (bytes.data() == nullptr) return;
      sum_.add(bytes);
    }
  }

  Checksum& sum_;
  std::mutex mutex_;
  std::condition_variable more_;
  std::deque<std::string_view> waiting_;
  std::thread thread_;  // last: it uses the others
};

void write_all(int fd, const char* data, size_t size, const std::filesystem::path& file) {
  while (size > 0) {
    const ssize_t n = ::write(fd, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw std::runtime_error(file.string() + ": cannot be written: " + std::strerror(errno));
    data += n;
    size -= static_cast<size_t>(n);
  }
}

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

[[noreturn]] void refuse(const std::filesystem::path& file, const std::string& what) {
  throw std::runtime_error(file.string() + ": not a sound safetensors file: " + what);
}

// Of the format, but not read here: their size in bits.
const std::map<std::string, std::uint64_t> kUnread = {
    {"U16", 16},    {"U32", 32},        {"U64", 64},        {"C64", 64}, {"F8_E4M3", 8}, {"F8_E5M2", 8},
    {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"F4", 4},   {"F6_E2M3", 6}, {"F6_E3M2", 6}};

SafetensorsEntry read_entry(const std::filesystem::path& file, const std::string& name, const json& v,
                            std::uint64_t data_size) {
  if (!v.is_object() || !v.contains("dtype") || !v.contains("shape") || !v.contains("data_offsets"))
    refuse(file, "\"" + name + "\" lacks dtype, shape or data_offsets");
  SafetensorsEntry e;
  e.name = name;
  const auto* known =
      std::find_if(std::begin(kDtypes), std::end(kDtypes), [&](const DtypeName& d) { return v["dtype"] == d.name; });
  if (!v["dtype"].is_string() || (known == std::end(kDtypes) && !kUnread.contains(v["dtype"].get<std::string>())))
    refuse(file, "\"" + name + "\" has dtype " + v["dtype"].dump(-1, ' ', false, json::error_handler_t::replace));
  e.type = v["dtype"].get<std::string>();
  if (known != std::end(kDtypes)) e.dtype = known->dtype;
  const std::uint64_t bits = e.dtype ? 8 * c10::elementSize(*e.dtype) : kUnread.at(e.type);
  if (!v["shape"].is_array() || v["shape"].size() > 16) refuse(file, "\"" + name + "\" has no sound shape");
  // `extent` leaves zero sizes out: beside a zero, sizes whose strides overflow would pass a check of the product
  // alone.
  std::uint64_t bytes = bits, extent = bits;
  for (const json& n : v["shape"]) {
    if (!n.is_number_unsigned()) refuse(file, "\"" + name + "\" has a dimension that is not a count");
    const auto size = n.get<std::uint64_t>();
    bytes *= size;
    if (__builtin_mul_overflow(extent, std::max<std::uint64_t>(size, 1), &extent) || extent > (std::uint64_t{1} << 62))
      refuse(file, "\"" + name + "\" is larger than the file");
    e.shape.push_back(static_cast<std::int64_t>(size));
  }
  const json& offsets = v["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned())
    refuse(file, "\"" + name + "\" has no sound data_offsets");
  e.begin = offsets[0].get<std::uint64_t>();
  e.end = offsets[1].get<std::uint64_t>();
  if (e.begin > e.end || e.end > data_size) refuse(file, "\"" + name + "\" lies outside the file");
  bytes = (bytes + 7) / 8;
  if (e.end - e.begin != bytes)
    refuse(file, "\"" + name + "\" has " + std::to_string(e.end - e.begin) + " bytes where its shape needs " +
                     std::to_string(bytes));
  return e;
}

// Refuses deep nesting and a name given twice while parsing: the parsed object would show neither in time.
json read_header(const std::filesystem::path& file, const std::string& text) {
  // nlohmann takes a zero byte for the end of the text.
  if (text.empty() || text[0] != '{' || text.find('\0') != text.npos) refuse(file, "its header is not a JSON object");
  std::set<std::string> names;
  const json header = json::parse(
      text,
      [&](int depth, json::parse_event_t event, json& value) {
        if (depth > 8) refuse(file, "its header is nested too deeply");
        if (depth == 1 && event == json::parse_event_t::key && !names.insert(value.get<std::string>()).second)
          refuse(file, "\"" + value.get<std::string>() + "\" is given twice");
        return true;
      },
      false);
  if (!header.is_object()) refuse(file, "its header is not a JSON object");
  if (const auto metadata = header.find("__metadata__"); metadata != header.end()) {
    bool strings = metadata->is_object();
    for (const json& value : *metadata) strings = strings && value.is_string();
    if (!strings) refuse(file, "__metadata__ is not an object of strings");
  }
  return header;
}

}  // namespace

std::string write_safetensors(const std::filesystem::path& file, const NamedTensors& tensors) {
  json header = {{"__metadata__",
                  {{"checksum", std::string(kChecksumPrefix) + std::string(kNoChecksumDigits)}, {"format", "pt"}}}};
  std::uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    const torch::Dtype dtype = tensor.scalar_type();
    const auto* known =
        std::find_if(std::begin(kDtypes), std::end(kDtypes), [&](const DtypeName& d) { return d.dtype == dtype; });
    if (known == std::end(kDtypes))
      throw std::invalid_argument(name + ": safetensors has no dtype " + std::string(c10::toString(dtype)));
    const std::uint64_t bytes = static_cast<std::uint64_t>(tensor.numel()) * tensor.element_size();
    if (header.contains(name)) throw std::invalid_argument(name + ": given twice");
    header[name] = {
        {"dtype", known->name}, {"shape", tensor.sizes().vec()}, {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');  // so that the data starts aligned
  char length[8];
  for (int i = 0; i < 8; ++i) length[i] = static_cast<char>(static_cast<std::uint64_t>(text.size()) >> (8 * i));

  const Descriptor out{::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)};
  if (out.fd < 0) throw std::runtime_error(file.string() + ": cannot be written: " + std::strerror(errno));
  Checksum sum;
  std::uint64_t written = 0, begun = 0;
  const auto put = [&](const char* data, std::size_t size) {
    for (; size > 0; data += std::min(size, kPiece), size -= std::min(size, kPiece)) {
      sum.add({data, std::min(size, kPiece)});
      write_all(out.fd, data, std::min(size, kPiece), file);
      written += std::min(size, kPiece);
      if (written - begun < kBehind) continue;
      // A hint: the disk writes while the next pieces are hashed. fsync() below is what counts.
      ::sync_file_range(out.fd, static_cast<off_t>(begun), static_cast<off_t>(written - begun), SYNC_FILE_RANGE_WRITE);
      begun = written;
    }
  };
  put(length, 8);
  put(text.data(), text.size());
  for (const auto& [name, tensor] : tensors) {
    const torch::Tensor t = tensor.detach().cpu().contiguous();
    put(static_cast<const char*>(t.data_ptr()), static_cast<size_t>(t.numel()) * t.element_size());
  }
  const std::string digits = sum.text();
  const auto at = static_cast<off_t>(8 + text.find(kChecksumMember) + kChecksumMember.size());
  if (::lseek(out.fd, at, SEEK_SET) != at)
    throw std::runtime_error(file.string() + ": cannot be written: " + std::strerror(errno));
  write_all(out.fd, digits.data(), digits.size(), file);
  if (::fsync(out.fd) != 0) throw std::runtime_error(file.string() + ": cannot be written: " + std::strerror(errno));
  return digits;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& file) : file_(file) {
  std::ifstream in(file, std::ios::binary | std::ios::ate);
  if (!in) throw std::runtime_error(file.string() + ": cannot be read");
  const auto size = static_cast<std::uint64_t>(in.tellg());
  in.seekg(0);
  unsigned char length_bytes[8];
  if (size < 8 || !in.read(reinterpret_cast<char*>(length_bytes), 8)) refuse(file, "shorter than its header");
  std::uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = (length << 8) | length_bytes[i];
  if (length > kMaxHeader || length > size - 8)
    refuse(file, "a header of " + std::to_string(length) + " bytes in a file of " + std::to_string(size));
  std::string text(length, '\0');
  if (!in.read(text.data(), static_cast<std::streamsize>(length))) refuse(file, "its header cannot be read");
  const json header = read_header(file, text);

  data_ = 8 + length;
  const std::uint64_t data_size = size - data_;
  for (const auto& [name, value] : header.items())
    if (name != "__metadata__") entries_.push_back(read_entry(file, name, value, data_size));
  std::sort(entries_.begin(), entries_.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  std::uint64_t at = 0;
  for (const SafetensorsEntry& e : entries_) {
    if (e.begin != at)
      refuse(file, "\"" + e.name + "\" " + (e.begin < at ? "overlaps the tensor before it" : "leaves a gap before it"));
    at = e.end;
  }
  if (at != data_size) refuse(file, std::to_string(data_size - at) + " bytes after its last tensor");
  const std::size_t member = text.find(kChecksumMember), digits = member + kChecksumMember.size();
  if (member != text.npos && digits + kChecksumDigits <= text.size()) {
    checksum_ = text.substr(digits, kChecksumDigits);
    text.replace(digits, kChecksumDigits, kNoChecksumDigits);
    header_ = std::string(reinterpret_cast<const char*>(length_bytes), 8) + text;
  } else if (header.contains("__metadata__") && has_checksum_member(header["__metadata__"])) {
    refuse(
        file,
        "the checksum in its __metadata__ is not as it was written: the file was damaged, or another program kept "
        "the __metadata__ of the file that it changed; allowed: the file as it was written, or without the checksum");
  }
  fd_ = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) throw std::runtime_error(file.string() + ": cannot be read: " + std::strerror(errno));
}

SafetensorsFile::~SafetensorsFile() {
  if (fd_ >= 0) ::close(fd_);
}

SafetensorsFile::SafetensorsFile(SafetensorsFile&& other) noexcept
    : file_(std::move(other.file_)),
      fd_(other.fd_),
      data_(other.data_),
      header_(std::move(other.header_)),
      checksum_(std::move(other.checksum_)),
      entries_(std::move(other.entries_)) {
  other.fd_ = -1;
}

torch::Tensor SafetensorsFile::read(const SafetensorsEntry& e, Checksum* sum) const {
  if (!e.dtype) {
    std::string types;
    for (const DtypeName& d : kDtypes) types += (types.empty() ? "" : ", ") + std::string(d.name);
    throw std::runtime_error(file_.string() + ": \"" + e.name + "\" has the unsupported type " + e.type +
                             "; allowed: " + types);
  }
  torch::Tensor t = torch::empty(e.shape, *e.dtype);
  auto* to = static_cast<char*>(t.data_ptr());
  for (std::uint64_t at = e.begin; at < e.end;) {
    const std::size_t size = sum ? std::min<std::uint64_t>(e.end - at, kPiece) : e.end - at;
    const ssize_t n = ::pread(fd_, to, size, static_cast<off_t>(data_ + at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) refuse(file_, "\"" + e.name + "\" cannot be read");
    if (sum) sum->add({to, static_cast<std::size_t>(n)});
    to += n;
    at += static_cast<std::uint64_t>(n);
  }
  return t;
}

NamedTensors SafetensorsFile::read_all(std::string_view expected) const {
  if (!expected.empty() && checksum_ != expected)
    throw std::runtime_error(file_.string() + ": its checksum is " + (checksum_.empty() ? "missing" : checksum_) +
                             " and not " + std::string(expected) +
                             ": it is damaged, or not the file that was written here");
  Checksum sum;
  sum.add(header_);
  NamedTensors out;
  const std::uint64_t size = entries_.empty() ? 0 : entries_.back().end;
  if (checksum_.empty() || size < kWorthAThread) {
    for (const SafetensorsEntry& e : entries_) out.emplace_back(e.name, read(e, checksum_.empty() ? nullptr : &sum));
  } else {
    HashBehind behind(sum);
    for (const SafetensorsEntry& e : entries_) {
      out.emplace_back(e.name, read(e, nullptr));
      if (e.end > e.begin) behind.add({static_cast<const char*>(out.back().second.data_ptr()), e.end - e.begin});
    }
  }
  if (!checksum_.empty() && sum.text() != checksum_)
    throw std::runtime_error(file_.string() + ": its checksum is wrong: the file was damaged after it was written");
  return out;
}

NamedTensors read_safetensors(const std::filesystem::path& file, std::string_view expected) {
  return SafetensorsFile(file).read_all(expected);
}

}  // namespace scalevec::models
