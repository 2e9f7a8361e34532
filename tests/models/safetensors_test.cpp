#include <torch/types.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <tuple>

#include "models/safetensors.hpp"
#include "optim/config/checksum.hpp"
#include "tests/models/scratch_folder.hpp"
#include "tests/support/catch.hpp"

using namespace scalevec;
using namespace scalevec::models;
using scalevec::test::ScratchFolder;

namespace {

// The format by its description: length of the header as 8 little-endian bytes, header, data.
std::string file_of(const std::string& header, const std::string& data) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>((header.size() >> (8 * i)) & 0xFF);
  return bytes + header + data;
}

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

}  // namespace

TEST_CASE("a file by the safetensors package reads back as Python's values") {
  std::ifstream in(SCALEVEC_FIXTURES "/safetensors/python.json");
  const auto expected = nlohmann::json::parse(in);
  const NamedTensors read = read_safetensors(SCALEVEC_FIXTURES "/safetensors/python.safetensors");
  REQUIRE(read.size() == expected.size());
  for (const auto& [name, tensor] : read) {
    INFO(name);
    REQUIRE(expected.contains(name));
    CHECK(tensor.sizes().vec() == expected[name]["shape"].get<std::vector<std::int64_t>>());
    const torch::Tensor flat = tensor.to(torch::kFloat64).flatten().contiguous();
    CHECK(std::vector<double>(flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()) ==
          expected[name]["values"].get<std::vector<double>>());
    if (expected.contains(name) && name.size() <= 4 && name != "BOOL")
      CHECK(tensor.element_size() == (name == "U8" || name == "I8" ? 1 : std::stoi(name.substr(name.size() - 2)) / 8));
  }
}

TEST_CASE("what is written is the format byte by byte") {
  const ScratchFolder folder;
  const torch::Tensor a = torch::tensor({1.0f, -2.0f, 0.5f, 3.0f}).view({2, 2}).t();
  write_safetensors(folder / "out",
                    {{"a", a}, {"b", torch::tensor({7, -1}, torch::kInt32)}, {"none", torch::zeros({0, 3})}});
  const std::string bytes = folder.read("out");
  std::uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = (length << 8) | static_cast<unsigned char>(bytes[i]);
  CHECK(length % 8 == 0);
  auto header = nlohmann::json::parse(bytes.substr(8, length));
  // The checksum of the file with its digits as zeros.
  const std::string member = header.at("__metadata__").at("checksum");
  std::string zeroed = bytes;
  zeroed.replace(zeroed.find(member) + 5, 16, 16, '0');
  CHECK(member == "xxh3:" + checksum(zeroed));
  CHECK(header["__metadata__"]["format"] == "pt");
  header.erase("__metadata__");
  CHECK(header == nlohmann::json::parse(R"({"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
    "b": {"dtype": "I32", "shape": [2], "data_offsets": [16, 24]},
    "none": {"dtype": "F32", "shape": [0, 3], "data_offsets": [24, 24]}})"));
  // 1, 0.5, -2, 3 as float32 and 7, -1 as int32, little-endian.
  const std::string data("\0\0\x80\x3f\0\0\0\x3f\0\0\0\xc0\0\0\x40\x40\x07\0\0\0\xff\xff\xff\xff", 24);
  CHECK(bytes.substr(8 + length) == data);
  CHECK_THROWS_AS(write_safetensors(folder / "twice", {{"a", a}, {"a", a}}), std::invalid_argument);
}

TEST_CASE("unsound files are refused in one line that says why") {
  const ScratchFolder folder;
  const std::string good = entry("F32", "[2]", "[0,8]");
  const std::string eight(8, '\0');
  const auto one = [&](const std::string& value) { return file_of(R"({"a":)" + value + "}", eight); };
  const std::string bomb(200'000, '[');
  const std::map<std::string, std::pair<std::string, std::string>> cases = {
      {"empty", {"", "shorter than its header"}},
      {"half a length", {"\x08\0\0", "shorter than its header"}},
      {"zero byte", {file_of(R"({"a":)" + good + "}" + std::string(1, '\0') + " ", eight), "not a JSON object"}},
      {"truncated header", {file_of(R"({"a":)" + good + "}", eight).substr(0, 20), "a header of"}},
      {"truncated data", {file_of(R"({"a":)" + good + "}", "1234567"), "outside the file"}},
      {"huge header", {std::string("\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10), "a header of 9223372036854775807"}},
      {"trailing bytes", {file_of(R"({"a":)" + good + "}", eight + "x"), "1 bytes after"}},
      {"no object", {file_of("[1, 2]", ""), "not a JSON object"}},
      {"no JSON", {file_of(R"({"a":)" + good, eight), "not a JSON object"}},
      {"empty header", {file_of("", ""), "not a JSON object"}},
      {"blank before the header", {file_of(R"( {"a":)" + good + "}", eight), "not a JSON object"}},
      {"not UTF-8", {file_of("{\"\xff\xfe\":" + good + "}", eight), "not a JSON object"}},
      {"nested arrays", {file_of(R"({"a":)" + bomb, eight), "nested too deeply"}},
      {"nested objects",
       {file_of(R"({"__metadata__":{"x":{"x":{"x":{"x":{"x":{"x":{"x":{"x":{"x":1}}}}}}}}}}})", ""),
        "nested too deeply"}},
      {"metadata", {file_of(R"({"__metadata__":{"x":1},"a":)" + good + "}", eight), "__metadata__"}},
      {"twice", {file_of(R"({"a":)" + good + R"(,"a":)" + good + "}", eight), "\"a\" is given twice"}},
      {"overlap", {file_of(R"({"a":)" + good + R"(,"b":)" + entry("F32", "[1]", "[4,8]") + "}", eight), "overlaps"}},
      {"same place", {file_of(R"({"a":)" + good + R"(,"b":)" + good + "}", eight), "overlaps"}},
      {"gap", {file_of(R"({"a":)" + entry("F32", "[1]", "[4,8]") + "}", eight), "leaves a gap"}},
      {"unknown dtype", {one(entry("F9", "[8]", "[0,8]")), "has dtype \"F9\""}},
      {"dtype a number", {one(R"({"dtype":1,"shape":[2],"data_offsets":[0,8]})"), "has dtype 1"}},
      {"wrong dtype", {one(entry("F64", "[2]", "[0,8]")), "8 bytes where its shape needs 16"}},
      {"NaN", {one(entry("F32", "[NaN]", "[0,8]")), "not a JSON object"}},
      {"negative", {one(entry("F32", "[-2]", "[0,8]")), "not a count"}},
      {"fraction", {one(entry("F32", "[2.0]", "[0,8]")), "not a count"}},
      {"beyond 64 bits", {one(entry("F32", "[36893488147419103233]", "[0,8]")), "not a count"}},
      {"overflow", {one(entry("F32", "[4611686018427387904,4]", "[0,8]")), "larger than the file"}},
      {"overflow to the right size", {one(entry("F32", "[4611686018427387906]", "[0,8]")), "larger than the file"}},
      {"overflow beside a zero",
       {file_of(R"({"a":)" + entry("F32", "[0,4611686018427387903,4611686018427387903]", "[0,0]") + "}", ""),
        "larger than the file"}},
      {"many dimensions", {one(entry("F32", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2]", "[0,8]")), "no sound shape"}},
      {"shape a word", {one(entry("F32", "\"2\"", "[0,8]")), "no sound shape"}},
      {"offsets reversed", {one(entry("F32", "[2]", "[8,0]")), "outside the file"}},
      {"offsets beyond", {one(entry("F32", "[2]", "[18446744073709551608,18446744073709551615]")), "outside the file"}},
      {"three offsets", {one(entry("F32", "[2]", "[0,4,8]")), "no sound data_offsets"}},
      {"negative offset", {one(entry("F32", "[2]", "[-8,0]")), "no sound data_offsets"}},
      {"no dtype", {one(R"({"shape":[2],"data_offsets":[0,8]})"), "lacks dtype"}},
      {"a list for an entry", {one("[1]"), "lacks dtype"}},
  };
  for (const auto& [name, item] : cases) {
    INFO(name);
    folder.write("bad", item.first);
    const std::string message = test::message_of([&] { read_safetensors(folder / "bad"); });
    INFO(message);
    CHECK(message.find((folder / "bad").string() + ": not a sound safetensors file: ") == 0);
    CHECK(message.find(item.second) != std::string::npos);
    CHECK(message.find('\n') == std::string::npos);
  }
  // Of the format but not read here: named as that, not as a damaged file.
  for (const auto& [type, shape, end] : {std::tuple("F8_E4M3", "[8]", "[0,8]"), {"U16", "[4]", "[0,8]"}}) {
    folder.write("unread", one(entry(type, shape, end)));
    CHECK(SafetensorsFile(folder / "unread").entries().at(0).type == type);
    const std::string message = test::message_of([&] { read_safetensors(folder / "unread"); });
    INFO(message);
    CHECK(message.find(std::string("unread: \"a\" has the unsupported type ") + type + "; allowed: ") !=
          std::string::npos);
  }
  folder.write("unread", file_of(R"({"a":)" + entry("F8_E4M3", "[0]", "[0,0]") + "}", ""));
  CHECK(test::message_of([&] { read_safetensors(folder / "unread"); }).find("unsupported type F8_E4M3") !=
        std::string::npos);
  folder.write("good", one(good));
  CHECK(read_safetensors(folder / "good").size() == 1);
  CHECK_THROWS_AS(read_safetensors(folder.path()), std::runtime_error);
  CHECK_THROWS_AS(read_safetensors(folder / "absent"), std::runtime_error);
}

TEST_CASE("a file with bytes changed or cut off is read or refused, never more") {
  const ScratchFolder folder;
  std::ifstream in(SCALEVEC_FIXTURES "/safetensors/python.safetensors", std::ios::binary);
  const std::string good{std::istreambuf_iterator<char>(in), {}};
  std::mt19937 random(1);
  int refused = 0;
  for (int round = 0; round < 1500; ++round) {
    std::string bytes = good;
    for (int i = 0; i <= round % 4; ++i) bytes[random() % bytes.size()] = static_cast<char>(random());
    if (round % 5 == 0) bytes.resize(random() % bytes.size());
    folder.write("fuzzed", bytes);
    try {
      for (const auto& [name, tensor] : read_safetensors(folder / "fuzzed")) CHECK(tensor.nbytes() <= good.size());
    } catch (const std::runtime_error& e) {
      ++refused;
      CHECK(std::string(e.what()).find("not a sound safetensors file") != std::string::npos);
    }
  }
  CHECK(refused > 300);  // all the cut ones, to begin with
}

TEST_CASE("sharded folders are read as one, and an index that lies is refused") {
  const ScratchFolder folder;
  const torch::Tensor a = torch::tensor({1.0f, 2.0f}), b = torch::tensor({3.0f});
  write_safetensors(folder / "one.safetensors", {{"a", a}});
  write_safetensors(folder / "two.safetensors", {{"b", b}});
  const auto index = [&](const std::string& map) {
    folder.write("model.safetensors.index.json", R"({"metadata": {"total_size": 12}, "weight_map": )" + map + "}");
  };
  const auto refusal = [&] { return test::message_of([&] { read_safetensors_folder(folder.path()); }); };
  CHECK(refusal().find("neither model.safetensors nor") != std::string::npos);

  index(R"({"a": "one.safetensors", "b": "two.safetensors"})");
  const NamedTensors all = read_safetensors_folder(folder.path());
  REQUIRE(all.size() == 2);
  CHECK((all[0].first == "a" && all[0].second.equal(a)));
  CHECK((all[1].first == "b" && all[1].second.equal(b)));

  write_safetensors(folder / "three.safetensors", {{"b", b}, {"stray", a}});
  index(R"({"a": "one.safetensors", "b": "three.safetensors"})");
  std::vector<std::string> notes;
  CHECK(read_safetensors_folder(folder.path(), &notes).size() == 2);
  REQUIRE(notes.size() == 1);
  CHECK(notes[0].find("three.safetensors: passed over \"stray\"") != std::string::npos);
  const SafetensorsFolder one_by_one(folder.path());
  CHECK(one_by_one.names() == std::vector<std::string>{"a", "b"});
  CHECK(one_by_one.find("stray") == nullptr);
  CHECK(one_by_one.read("b").equal(b));

  for (const auto& [map, why] : std::map<std::string, std::string>{
           {R"({"a": "one.safetensors", "b": "two.safetensors", "c": "two.safetensors"})", "lacks \"c\""},
           {R"({"a": "two.safetensors", "b": "one.safetensors"})", "lacks \"b\""},
           {R"({"a": "../one.safetensors"})", "allowed: the name of a file in the same folder"},
           {R"({"a": "/etc/passwd"})", "allowed: the name of a file in the same folder"},
           {R"({"a": ".."})", "allowed: the name of a file in the same folder"},
           {R"({"a": "four.safetensors"})", "four.safetensors: cannot be read"},
           {R"({"a": 1})", "\"a\" has no file name"},
           {R"(["a"])", "no weight_map"}}) {
    INFO(map);
    index(map);
    const std::string message = refusal();
    INFO(message);
    CHECK(message.find(why) != std::string::npos);
  }
  for (const char* text : {"", "{\"weight_map\": {", "{\"weight_map\": {}, \"weight_map\": {}}", "1e999"}) {
    INFO(text);
    folder.write("model.safetensors.index.json", text);
    CHECK_THROWS_AS(read_safetensors_folder(folder.path()), std::runtime_error);
    CHECK(refusal().starts_with((folder / "model.safetensors.index.json").string() + ": "));
  }
}

TEST_CASE("no flipped bit of a written file gives other tensors") {
  const ScratchFolder folder;
  const NamedTensors written{{"a", torch::arange(6, torch::kFloat32).view({2, 3})},
                             {"b", torch::ones({5}, torch::kBFloat16)}};
  const std::string sum = write_safetensors(folder / "out", written);
  const std::string bytes = folder.read("out");
  const auto same = [&](const NamedTensors& read) {
    if (read.size() != written.size()) return false;
    for (std::size_t i = 0; i < read.size(); ++i)
      if (read[i].first != written[i].first || !torch::equal(read[i].second, written[i].second)) return false;
    return true;
  };
  CHECK(same(read_safetensors(folder / "out")));
  CHECK(same(read_safetensors(folder / "out", sum)));
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    std::string hit = bytes;
    hit[bit / 8] = static_cast<char>(hit[bit / 8] ^ (1 << (bit % 8)));
    std::ofstream(folder / "hit", std::ios::binary) << hit;
    CHECK_THROWS_AS(read_safetensors(folder / "hit", sum), std::runtime_error);
    REQUIRE_THROWS_AS(read_safetensors(folder / "hit"), std::runtime_error);
  }
  const std::string other =
      write_safetensors(folder / "other", {{"a", torch::zeros({2, 3})}, {"b", torch::ones({5}, torch::kBFloat16)}});
  CHECK(other != sum);
  CHECK_THROWS_AS(read_safetensors(folder / "other", sum), std::runtime_error);
  CHECK_NOTHROW(read_safetensors(folder / "other"));
}

TEST_CASE("a file that is hashed beside the reading reads as written, and a bit changed anywhere is found") {
  const ScratchFolder folder;
  torch::manual_seed(5);
  // Beyond 4 MiB, where a thread of its own hashes; tensors without values between others end nothing early.
  const NamedTensors tensors = {{"first", torch::randn({700, 1024})},
                                {"none", torch::zeros({0, 3})},
                                {"second", torch::randn({3})},
                                {"none again", torch::zeros({0})},
                                {"third", torch::randn({500, 1024})}};
  write_safetensors(folder / "large", tensors);
  const NamedTensors read = read_safetensors(folder / "large");
  REQUIRE(read.size() == tensors.size());
  for (size_t i = 0; i < read.size(); ++i) {
    CHECK(read[i].first == tensors[i].first);
    CHECK(torch::equal(read[i].second, tensors[i].second));
  }
  const auto size = static_cast<std::int64_t>(std::filesystem::file_size(folder / "large"));
  const std::int64_t data = size - 4 * (1200 * 1024 + 3);
  for (const std::int64_t at : {data, data + 4 * 700 * 1024 - 1, data + 4 * 700 * 1024, data + 4 * 700 * 1024 + 12,
                                data + 4 * 900 * 1024, size - 1}) {
    std::fstream file(folder / "large", std::ios::binary | std::ios::in | std::ios::out);
    const auto flip = [&] {
      file.seekg(at);
      const char before = static_cast<char>(file.get());
      file.seekp(at);
      file.put(static_cast<char>(before ^ 1));
      file.flush();
    };
    flip();
    CHECK_THROWS_AS(read_safetensors(folder / "large"), std::runtime_error);
    flip();
    CHECK_NOTHROW(read_safetensors(folder / "large"));
  }
}
