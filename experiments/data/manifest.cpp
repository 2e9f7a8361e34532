#include "experiments/data/manifest.hpp"

#include <nlohmann/json.hpp>

#include "experiments/errors.hpp"
#include "experiments/system/file_io.hpp"
#include "experiments/system/mapped_file.hpp"
#include "optim/config/checksum.hpp"
#include "optim/config/json_reader.hpp"

namespace scalevec::experiments {
namespace {

using nlohmann::ordered_json;

ordered_json split_json(const DataManifest::Split& split) {
  ordered_json shards = ordered_json::array();
  for (const auto& s : split.shards) shards.push_back({{"name", s.name}, {"tokens", s.tokens}, {"sha256", s.sha256}});
  return {{"blocks", split.blocks}, {"bytes", split.bytes}, {"tokens", split.tokens()}, {"files", shards}};
}

DataManifest::Split read_split(JsonReader reader) {
  DataManifest::Split split;
  split.blocks = reader.integer("blocks", Range::at_least(0));
  split.bytes = reader.integer("bytes", 0, Range::at_least(0));
  for (JsonReader& file : reader.objects("files")) {
    split.shards.push_back(
        {file.string("name"), file.integer("tokens", Range::between(0, 2147483647)), file.string("sha256")});
    file.finish();
  }
  if (reader.integer("tokens", Range::at_least(0)) != split.tokens()) {
    reader.fail("tokens", std::to_string(split.tokens()) + ", the sum over its files");
  }
  reader.finish();
  return split;
}

}  // namespace

std::int64_t DataManifest::Split::tokens() const {
  std::int64_t sum = 0;
  for (const Shard& shard : shards) sum += shard.tokens;
  return sum;
}

std::string manifest_json(const DataManifest& m) {
  ordered_json sources = ordered_json::array();
  for (const auto& s : m.sources) sources.push_back({{"name", s.name}, {"bytes", s.bytes}, {"sha256", s.sha256}});
  const ordered_json json = {{"tokenizer", m.tokenizer},     {"vocab_size", m.vocab_size},
                             {"block_bytes", m.block_bytes}, {"val_fraction", m.val_fraction},
                             {"val_every", m.val_every},     {"shard_tokens", m.shard_tokens},
                             {"sources", sources},           {"train", split_json(m.train)},
                             {"val", split_json(m.val)},     {"sha256", m.sha256}};
  // A file name need not be UTF-8.
  return json.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

std::optional<DataManifest> read_manifest(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / kManifestName;
  if (!std::filesystem::exists(file)) return std::nullopt;
  nlohmann::json json;
  try {
    json = checked_record(MappedFile(file).bytes(), file);
  } catch (const DamagedFile& e) {
    throw UsageError(e.what());
  }
  JsonReader reader(json, file.string());
  DataManifest m;
  m.tokenizer = reader.string("tokenizer");
  m.vocab_size = reader.integer("vocab_size", Range::between(1, 2147483647));
  m.block_bytes = reader.integer("block_bytes", Range::at_least(1));
  m.val_fraction = reader.number("val_fraction", Range{0.0, 0.5, true, false});
  m.val_every = reader.integer("val_every", Range::at_least(2));
  m.shard_tokens = reader.integer("shard_tokens", Range::at_least(1));
  for (JsonReader& source : reader.objects("sources")) {
    m.sources.push_back({source.string("name"), source.integer("bytes", Range::at_least(0)), source.string("sha256")});
    source.finish();
  }
  m.train = read_split(reader.object("train"));
  m.val = read_split(reader.object("val"));
  m.sha256 = reader.string("sha256");
  reader.finish();
  return m;
}

}  // namespace scalevec::experiments
