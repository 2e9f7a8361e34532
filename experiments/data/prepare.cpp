#include "experiments/data/prepare.hpp"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <memory>
#include <optional>
#include <span>
#include <sstream>
#include <utility>

#include "experiments/data/token_file.hpp"
#include "experiments/data/token_folder.hpp"
#include "experiments/data/tokenizer.hpp"
#include "experiments/data/unicode_text.hpp"
#include "experiments/errors.hpp"
#include "experiments/system/file_io.hpp"
#include "experiments/system/mapped_file.hpp"
#include "experiments/system/sha256.hpp"
#include "experiments/system/staging_folder.hpp"

namespace scalevec::experiments {
namespace {

namespace fs = std::filesystem;

bool is_utf8_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

void check_options(const PrepareOptions& o) {
  const auto fail = [](const std::string& what, const auto& value, const std::string& allowed) {
    std::ostringstream text;
    text << what << ": got " << value << "; allowed: " << allowed;
    throw UsageError(text.str());
  };
  if (o.texts.empty()) fail("--text", "no file", "at least one file");
  if (o.out.empty()) fail("--out", "nothing", "a folder");
  // The least value keeps 1/val_fraction an integer that any text falls far short of.
  if (!(o.val_fraction >= 1e-9 && o.val_fraction <= 0.5)) {
    fail("--val-fraction", o.val_fraction, "more than 0, up to 0.5");
  }
  if (o.block_bytes < 1 || o.block_bytes > (std::int64_t{1} << 30)) fail("--block", o.block_bytes, "1 to 1073741824");
  if (o.shard_tokens < 1 || o.shard_tokens > 2147483647) fail("--shard-tokens", o.shard_tokens, "1 to 2147483647");
}

struct Source {
  fs::path file;
  MappedFile map;
  std::vector<std::size_t> block_ends;
};

// One split's shards, filled in order.
class SplitWriter {
 public:
  SplitWriter(fs::path folder, std::string name, std::int64_t shard_tokens, bool wide)
      : folder_(std::move(folder)), name_(std::move(name)), shard_tokens_(shard_tokens), wide_(wide) {}

  void append_block(std::span<const std::uint32_t> tokens, std::size_t bytes) {
    ++split_.blocks;
    split_.bytes += static_cast<std::int64_t>(bytes);
    while (!tokens.empty()) {
      if (writer_ && writer_->size() == shard_tokens_) close_shard();
      if (!writer_) open_shard();
      const auto room = static_cast<std::size_t>(shard_tokens_ - writer_->size());
      const auto part = tokens.first(std::min(room, tokens.size()));
      writer_->append(part);
      tokens = tokens.subspan(part.size());
    }
  }

  DataManifest::Split finish() {
    if (writer_) close_shard();
    return std::move(split_);
  }

 private:
  void open_shard() {
    std::ostringstream name;
    name << name_ << '_' << std::setw(6) << std::setfill('0') << split_.shards.size() << ".bin";
    split_.shards.push_back({name.str(), 0, {}});
    writer_ = std::make_unique<TokenFileWriter>(folder_ / name.str(), wide_);
  }

  void close_shard() {
    auto& shard = split_.shards.back();
    writer_->finish();
    shard.tokens = writer_->size();
    shard.sha256 = sha256_file(folder_ / shard.name);
    writer_.reset();
  }

  fs::path folder_;
  std::string name_;
  std::int64_t shard_tokens_;
  bool wide_;
  DataManifest::Split split_;
  std::unique_ptr<TokenFileWriter> writer_;
};

// The name of the first option or source in which two manifests differ, or empty.
std::string difference(const DataManifest& a, const DataManifest& b) {
  if (a.tokenizer != b.tokenizer) return "tokenizer";
  if (a.val_every != b.val_every) return "val_fraction";
  if (a.block_bytes != b.block_bytes) return "block_bytes";
  if (a.shard_tokens != b.shard_tokens) return "shard_tokens";
  if (a.sources.size() != b.sources.size()) return "number of sources";
  for (std::size_t i = 0; i < a.sources.size(); ++i) {
    if (a.sources[i].sha256 != b.sources[i].sha256) return "content of source " + a.sources[i].name;
  }
  return {};
}

// What `out` already holds, if it is complete and of these options and sources; empty if there is nothing yet.
std::optional<DataManifest> up_to_date(const fs::path& out, const DataManifest& wanted) {
  if (!fs::exists(out)) return std::nullopt;
  if (!fs::is_directory(out)) throw UsageError(out.string() + ": is a file; allowed: a folder that does not exist yet");
  if (fs::is_empty(out)) return std::nullopt;
  const auto found = read_manifest(out);
  if (!found) {
    throw UsageError(out.string() + ": holds files but no data.json; allowed: an empty or a new folder for --out");
  }
  if (const std::string what = difference(*found, wanted); !what.empty()) {
    throw UsageError(out.string() + ": holds tokens prepared with another " + what +
                     "; allowed: the same options and texts, or another --out");
  }
  for (const auto* split : {&found->train, &found->val}) {
    for (const auto& shard : split->shards) {
      const fs::path file = out / shard.name;
      if (!fs::exists(file) || sha256_file(file) != shard.sha256) {
        throw UsageError(file.string() + ": missing or not as data.json records it; remove the folder first");
      }
    }
  }
  return found;
}

}  // namespace

std::vector<std::size_t> text_block_ends(std::string_view text, std::int64_t block_bytes) {
  const auto block = static_cast<std::size_t>(block_bytes);
  std::vector<std::size_t> ends;
  for (std::size_t begin = 0; begin < text.size(); begin = ends.back()) {
    if (text.size() - begin <= block) {
      ends.push_back(text.size());
      continue;
    }
    // The break may be the block's last byte, so the search starts there.
    const std::size_t limit = std::min(begin + 2 * block, text.size());
    const auto line = text.substr(0, limit).find('\n', begin + block - 1);
    if (line != std::string_view::npos) {
      ends.push_back(line + 1);
      continue;
    }
    std::size_t end = limit;
    for (int back = 0; back < 3 && end < text.size() && end > begin + 1; ++back) {
      if (!is_utf8_continuation(text[end])) break;
      --end;
    }
    ends.push_back(end);
  }
  return ends;
}

PrepareResult prepare_data(const PrepareOptions& options) {
  check_options(options);
  PrepareResult result;
  DataManifest& m = result.manifest;
  const std::unique_ptr<Tokenizer> tokenizer = make_tokenizer(options.tokenizer);
  m.tokenizer = tokenizer->name();
  m.vocab_size = tokenizer->vocab_size();
  m.block_bytes = options.block_bytes;
  m.val_fraction = options.val_fraction;
  m.val_every = std::llround(1.0 / options.val_fraction);
  m.shard_tokens = options.shard_tokens;

  std::vector<Source> sources;
  std::int64_t blocks = 0;
  for (const fs::path& file : options.texts) {
    Source source{file, MappedFile(file), {}};
    const std::string_view text = source.map.bytes();
    const std::string hash = sha256(text);
    for (const auto& other : m.sources) {
      // Its blocks would be cut and split alike or not; either way validation could hold what training has seen.
      if (other.sha256 == hash) throw UsageError(file.string() + ": has the same content as " + other.name);
    }
    m.sources.push_back({file.filename().string(), static_cast<std::int64_t>(text.size()), hash});
    if (const std::size_t good = utf8_prefix(text); m.tokenizer.starts_with("sentencepiece:") && good < text.size())
      result.notes.push_back(file.string() + " is not UTF-8, first at byte " + std::to_string(good) +
                             "; SentencePiece reads such bytes as U+FFFD");
    source.block_ends = text_block_ends(text, options.block_bytes);
    blocks += static_cast<std::int64_t>(source.block_ends.size());
    sources.push_back(std::move(source));
  }
  const std::int64_t first_val = m.val_every / 2;
  if (blocks <= first_val) {
    std::int64_t bytes = 0;
    for (const auto& source : m.sources) bytes += source.bytes;
    throw UsageError(
        options.texts.front().string() + (options.texts.size() > 1 ? " and the others" : "") +
        (bytes == 0
             ? ": empty"
             : ": " + std::to_string(blocks) + " blocks of --block " + std::to_string(options.block_bytes) + " bytes") +
        "; needed: " + std::to_string(first_val + 1) +
        " blocks, for one of training and one of validation at --val-fraction " +
        nlohmann::json(options.val_fraction).dump() + (bytes == 0 ? "" : "; a smaller --block gives more"));
  }

  const fs::path out = final_folder(options.out);
  if (const auto found = up_to_date(out, m)) return {*found, false, result.notes};

  StagingFolder staging(out);
  const bool wide = m.vocab_size > kNarrowVocabulary;
  SplitWriter train(staging.path(), "train", options.shard_tokens, wide),
      val(staging.path(), "val", options.shard_tokens, wide);
  std::int64_t block = 0;
  std::vector<std::uint32_t> tokens;
  for (const Source& source : sources) {
    const std::string_view text = source.map.bytes();
    std::size_t begin = 0;
    for (const std::size_t end : source.block_ends) {
      const auto piece = text.substr(begin, end - begin);
      tokens.clear();
      try {
        tokenizer->encode(piece, tokens);
      } catch (const UsageError& e) {
        throw UsageError(source.file.string() + ", block from byte " + std::to_string(begin) + " on: " + e.what());
      }
      (block % m.val_every == first_val ? val : train).append_block(tokens, piece.size());
      ++block;
      begin = end;
    }
  }
  m.train = train.finish();
  m.val = val.finish();
  std::vector<std::string> train_hashes, val_hashes;
  for (const auto& shard : m.train.shards) train_hashes.push_back(shard.sha256);
  for (const auto& shard : m.val.shards) val_hashes.push_back(shard.sha256);
  m.sha256 = data_hash(train_hashes, val_hashes);
  write_record(staging.path() / kManifestName, manifest_json(m));
  staging.commit();
  result.written = true;
  return result;
}

}  // namespace scalevec::experiments
