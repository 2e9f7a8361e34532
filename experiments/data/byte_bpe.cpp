#include <algorithm>
#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <queue>
#include <unordered_map>

#include "experiments/data/tokenizer.hpp"
#include "experiments/data/unicode_text.hpp"
#include "experiments/errors.hpp"
#include "experiments/system/mapped_file.hpp"
#include "experiments/system/sha256.hpp"
#include "optim/config/json_reader.hpp"

namespace scalevec::experiments {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// The regular expressions that text is cut into words by: GPT-2's, Llama 3's, Qwen2's.
enum class Words { gpt2, llama3, qwen2 };

constexpr const char* kGpt2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
constexpr const char* kLlama3 =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
    "\\s+(?!\\S)|\\s+";
constexpr const char* kQwen2 =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
    "\\s+(?!\\S)|\\s+";

// The length of the first word of `text`, which is not empty.
std::size_t word_length(std::u32string_view text, Words words) {
  const std::size_t end = text.size();
  const auto run = [&](std::size_t k, auto holds) {
    while (k < end && holds(text[k])) ++k;
    return k;
  };
  const auto other = [](char32_t x) { return !is_space(x) && !is_letter(x) && !is_number(x); };
  const auto line = [](char32_t x) { return x == '\r' || x == '\n'; };
  const bool gpt2 = words == Words::gpt2;
  const char32_t first = text[0];
  if (first == '\'' && end > 1) {
    const auto lower = [&](std::size_t k) -> char32_t {
      if (k >= end) return 0;
      const char32_t x = text[k];
      if (gpt2) return x;
      // Where case is ignored, ſ is an s.
      return x == 0x17f ? U's' : x >= U'A' && x <= U'Z' ? x + 32 : x;
    };
    const char32_t a = lower(1), b = lower(2);
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return 3;
  }
  if (gpt2) {
    const std::size_t start = first == ' ' ? 1 : 0;
    if (start < end) {
      if (is_letter(text[start])) return run(start, is_letter);
      if (is_number(text[start])) return run(start, is_number);
      if (other(text[start])) return run(start, other);
    }
  } else {
    const std::size_t start = !line(first) && !is_letter(first) && !is_number(first) ? 1 : 0;
    if (start < end && is_letter(text[start])) return run(start, is_letter);
    if (is_number(first)) return words == Words::qwen2 ? 1 : std::min<std::size_t>(run(0, is_number), 3);
    const std::size_t marks = first == ' ' ? 1 : 0;
    if (marks < end && other(text[marks])) return run(run(marks, other), line);
    // \s*[\r\n]+: up to the last line break of the white space.
    for (std::size_t k = run(0, is_space); k > 0; --k)
      if (line(text[k - 1])) return k;
  }
  // White space: all of it at the end, else without its last character, which goes to the next word.
  const std::size_t spaces = run(0, is_space);
  return spaces < end && spaces > 1 ? spaces - 1 : spaces;
}

// The tokens that are looked for in text before anything else.
class AddedTokens {
 public:
  void add(const std::string& content, std::uint32_t id) {
    auto& list = by_first_byte_[static_cast<unsigned char>(content[0])];
    list.emplace_back(content, id);
    std::stable_sort(list.begin(), list.end(),
                     [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
  }

  // Calls plain(text) for what lies between tokens and token(id) for each, leftmost first and the longest of those that
  // start at one place.
  template <class Plain, class Token>
  void split(std::string_view text, Plain&& plain, Token&& token) const {
    std::size_t begin = 0;
    for (std::size_t i = 0; i < text.size();) {
      const auto& list = by_first_byte_[static_cast<unsigned char>(text[i])];
      const auto it =
          std::find_if(list.begin(), list.end(), [&](const auto& t) { return text.substr(i).starts_with(t.first); });
      if (it == list.end()) {
        ++i;
        continue;
      }
      if (i > begin) plain(text.substr(begin, i - begin));
      token(it->second);
      begin = i += it->first.size();
    }
    if (begin < text.size()) plain(text.substr(begin));
  }

 private:
  std::array<std::vector<std::pair<std::string, std::uint32_t>>, 256> by_first_byte_;
};

// The bytes that a token's characters stand for; nothing if one of them stands for none. GPT-2's table: printable
// characters of Latin-1 are their own bytes, the others follow from U+0100 on.
std::optional<std::string> bytes_of(const std::string& token) {
  static const std::unordered_map<char32_t, char> byte_of = [] {
    std::unordered_map<char32_t, char> map;
    char32_t next = 256;
    for (int b = 0; b < 256; ++b) {
      const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
      map[printable ? static_cast<char32_t>(b) : next++] = static_cast<char>(b);
    }
    return map;
  }();
  const auto codes = code_points(token);
  if (!codes) return std::nullopt;
  std::string bytes;
  for (const char32_t c : *codes) {
    const auto it = byte_of.find(c);
    if (it == byte_of.end()) return std::nullopt;
    bytes += it->second;
  }
  return bytes;
}

class ByteBpeTokenizer : public Tokenizer {
 public:
  explicit ByteBpeTokenizer(const fs::path& folder) : file_((folder / "tokenizer.json").string()) {
    const MappedFile map(file_);
    const json root = parse_json_if_sound(map.bytes());
    if (!root.is_object()) refuse("is no JSON object");
    name_ =
        "tokenizer.json:" + fs::path(folder / "").parent_path().filename().string() + " sha256 " + sha256(map.bytes());
    read_normalizer(root);
    read_model(root);
    read_added(root);
    read_steps(root);
  }

  std::int64_t vocab_size() const override { return vocab_size_; }
  std::string name() const override { return name_; }

  void encode(std::string_view text, std::vector<std::uint32_t>& ids) const override {
    const auto take = [&](std::uint32_t id) { ids.push_back(id); };
    as_given_.split(
        text,
        [&](std::string_view part) {
          const auto codes = code_points(part);
          if (!codes) throw UsageError(name_ + ": the text is not UTF-8");
          std::string normal;
          if (nfc_) append_utf8(normal, normal_form_c(*codes));
          normalized_.split(
              nfc_ ? std::string_view(normal) : part,
              [&](std::string_view plain) { encode_step(*code_points(plain), 0, ids); }, take);
        },
        take);
  }

 private:
  // One step of the pre-tokenizer. Each cuts every piece of the one before it.
  struct Step {
    enum class Kind { digits, words, byte_level } kind;
    bool each = false;          // digits: each by itself, else runs of them
    bool prefix_space = false;  // byte_level: a piece without a space in front gets one
    std::optional<Words> words = std::nullopt;
  };
  struct Merge {
    std::uint32_t rank, id;
  };

  [[noreturn]] void refuse(const std::string& what) const {
    std::string line = file_ + ": " + what;
    std::replace_if(
        line.begin(), line.end(), [](unsigned char c) { return c < 32; }, ' ');
    throw UsageError(line);
  }
  [[noreturn]] void unsupported(const std::string& part, const json& value, const std::string& allowed) const {
    std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
    if (text.size() > 160) text = text.substr(0, 160) + "…";
    refuse(part + ": got " + text + "; allowed: " + allowed);
  }

  void read_normalizer(const json& root) {
    const json normalizer = root.value("normalizer", json());
    if (normalizer.is_null()) return;
    if (!normalizer.is_object() || normalizer.value("type", json()) != "NFC")
      unsupported("normalizer", normalizer, "null, NFC");
    nfc_ = true;
  }

  std::uint32_t id_of(const std::string& where, const json& id) const {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= (1u << 31))
      unsupported(where, id, "an id from 0 to 2147483647");
    return id.get<std::uint32_t>();
  }

  void read_model(const json& root) {
    const json model = root.value("model", json());
    if (!model.is_object() || (model.contains("type") && model["type"] != "BPE"))
      unsupported("model.type", model.is_object() ? model.value("type", json()) : model, "BPE");
    for (const char* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix"})
      if (const json value = model.value(key, json()); !value.is_null() && value != "" && value != 0)
        unsupported(std::string("model.") + key, value, "null");
    if (model.value("byte_fallback", json(false)) != false)
      unsupported("model.byte_fallback", model["byte_fallback"], "false");
    ignore_merges_ = model.value("ignore_merges", json(false)) == true;
    fuse_unknown_ = model.value("fuse_unk", json(false)) == true;
    if (!model.contains("vocab") || !model["vocab"].is_object() || !model.contains("merges") ||
        !model["merges"].is_array())
      refuse("model: has no vocab or no merges");
    for (const auto& [token, id] : model["vocab"].items()) {
      const std::uint32_t value = id_of("model.vocab." + token, id);
      ids_[token] = value;
      vocab_size_ = std::max<std::int64_t>(vocab_size_, std::int64_t{value} + 1);
      if (const auto bytes = bytes_of(token)) by_bytes_[*bytes] = value;
    }
    bool any = false;
    for (int b = 0; b < 256; ++b) {
      const auto it = by_bytes_.find(std::string(1, static_cast<char>(b)));
      if (it != by_bytes_.end()) byte_ids_[static_cast<std::size_t>(b)] = it->second;
      any = any || it != by_bytes_.end();
    }
    if (!any) refuse("model.vocab: has no token for a single byte, as a byte-level BPE has");
    if (const json unknown = model.value("unk_token", json()); !unknown.is_null()) {
      if (!unknown.is_string() || !ids_.contains(unknown.get<std::string>()))
        unsupported("model.unk_token", unknown, "a token of the vocab, null");
      unknown_ = ids_.at(unknown.get<std::string>());
    }
    std::uint32_t rank = 0;
    for (const json& merge : model["merges"]) {
      std::string left, right;
      if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
        left = merge[0];
        right = merge[1];
      } else if (merge.is_string()) {
        const auto text = merge.get<std::string>();
        const std::size_t space = text.find(' ');
        if (space == std::string::npos) unsupported("model.merges", merge, "two tokens");
        left = text.substr(0, space);
        right = text.substr(space + 1);
      } else {
        unsupported("model.merges", merge, "two tokens");
      }
      const auto a = ids_.find(left), b = ids_.find(right), both = ids_.find(left + right);
      if (a == ids_.end() || b == ids_.end() || both == ids_.end())
        unsupported("model.merges", merge, "tokens of the vocab");
      merges_.insert_or_assign(key_of(a->second, b->second), Merge{rank++, both->second});
    }
  }

  void read_added(const json& root) {
    for (const json& token : root.value("added_tokens", json::array())) {
      if (!token.is_object() || !token.contains("content") || !token["content"].is_string() || !token.contains("id"))
        unsupported("added_tokens", token, "objects with content and id");
      auto content = token["content"].get<std::string>();
      const std::string where = "added_tokens." + content;
      const std::uint32_t id = id_of(where + ".id", token["id"]);
      if (const auto it = ids_.find(content); it != ids_.end() && it->second != id)
        unsupported(where + ".id", token["id"], std::to_string(it->second) + ", as in the vocab");
      for (const char* key : {"single_word", "lstrip", "rstrip"})
        if (token.value(key, json(false)) != false) unsupported(where + "." + key, token[key], "false");
      vocab_size_ = std::max<std::int64_t>(vocab_size_, std::int64_t{id} + 1);
      const bool normalized = token.value("normalized", json(false)) == true;
      if (normalized && nfc_) {
        const std::u32string normal = normal_form_c(*code_points(content));
        content.clear();
        append_utf8(content, normal);
      }
      if (!content.empty()) (normalized ? normalized_ : as_given_).add(content, id);
    }
  }

  void read_steps(const json& root) {
    const char* allowed =
        "ByteLevel, after any number of Digits and of Split (Isolated) by GPT-2's, Llama 3's or Qwen2's expression";
    json steps = root.value("pre_tokenizer", json());
    if (steps.is_object() && steps.value("type", json()) == "Sequence")
      steps = steps.value("pretokenizers", json());
    else
      steps = json::array({steps});
    if (!steps.is_array() || steps.empty()) unsupported("pre_tokenizer", root.value("pre_tokenizer", json()), allowed);
    for (const json& step : steps) {
      const json type = step.is_object() ? step.value("type", json()) : json();
      const bool last = &step == &steps.back();
      if (type == "Digits" && !last) {
        steps_.push_back({.kind = Step::Kind::digits, .each = step.value("individual_digits", json(false)) == true});
      } else if (type == "Split" && !last && step.value("behavior", json()) == "Isolated" &&
                 step.value("invert", json(false)) == false) {
        const json pattern = step.value("pattern", json());
        const json regex = pattern.is_object() ? pattern.value("Regex", json()) : json();
        if (regex != kLlama3 && regex != kQwen2 && regex != kGpt2) unsupported("pre_tokenizer", step, allowed);
        steps_.push_back({.kind = Step::Kind::words,
                          .words = regex == kLlama3  ? Words::llama3
                                   : regex == kQwen2 ? Words::qwen2
                                                     : Words::gpt2});
      } else if (type == "ByteLevel" && last) {
        Step level{.kind = Step::Kind::byte_level, .prefix_space = step.value("add_prefix_space", json(true)) == true};
        if (step.value("use_regex", json(true)) == true) level.words = Words::gpt2;
        steps_.push_back(level);
      } else {
        unsupported("pre_tokenizer", step, allowed);
      }
    }
  }

  void encode_step(std::u32string_view text, std::size_t at, std::vector<std::uint32_t>& ids) const {
    if (text.empty()) return;
    const Step& step = steps_[at];
    const bool last = at + 1 == steps_.size();
    const auto pass = [&](std::u32string_view piece) {
      last ? encode_word(piece, ids) : encode_step(piece, at + 1, ids);
    };
    std::u32string with_space;
    if (step.prefix_space && text[0] != ' ') {
      with_space = U' ' + std::u32string(text);
      text = with_space;
    }
    while (!text.empty()) {
      std::size_t length = text.size();
      if (step.kind == Step::Kind::digits) {
        const bool digits = is_numeric(text[0]);
        length = 1;
        while (length < text.size() && is_numeric(text[length]) == digits && !(digits && step.each)) ++length;
      } else if (step.words) {
        length = word_length(text, *step.words);
      }
      pass(text.substr(0, length));
      text.remove_prefix(length);
    }
  }

  void encode_word(std::u32string_view word, std::vector<std::uint32_t>& ids) const {
    std::string key;
    append_utf8(key, word);
    if (const auto known = cache_.find(key); known != cache_.end()) {
      ids.insert(ids.end(), known->second.begin(), known->second.end());
      return;
    }
    std::vector<std::uint32_t> parts;
    if (const auto whole = by_bytes_.find(key); ignore_merges_ && whole != by_bytes_.end()) {
      parts = {whole->second};
    } else {
      bool unknown_before = false;
      for (const char c : key) {
        const auto& id = byte_ids_[static_cast<unsigned char>(c)];
        // A byte that the vocabulary lacks is the unknown token, or nothing where there is none.
        if (id)
          parts.push_back(*id);
        else if (unknown_ && !(fuse_unknown_ && unknown_before))
          parts.push_back(*unknown_);
        unknown_before = !id;
      }
      merge(parts);
    }
    ids.insert(ids.end(), parts.begin(), parts.end());
    if (cache_.size() < 500'000 && key.size() <= 64) cache_.emplace(std::move(key), std::move(parts));
  }

  // Merges neighbours, the merge of lowest rank first and of equals the leftmost, until there is none.
  void merge(std::vector<std::uint32_t>& parts) const {
    constexpr std::size_t none = static_cast<std::size_t>(-1);
    struct Candidate {
      std::uint32_t rank, id;
      std::size_t at;
      bool operator<(const Candidate& o) const { return rank != o.rank ? rank > o.rank : at > o.at; }
    };
    const std::size_t n = parts.size();
    std::vector<std::size_t> previous(n), next(n);
    std::vector<bool> gone(n, false);
    std::priority_queue<Candidate> queue;
    const auto find = [&](std::size_t a, std::size_t b) {
      const auto it = merges_.find(key_of(parts[a], parts[b]));
      return it == merges_.end() ? nullptr : &it->second;
    };
    const auto push = [&](std::size_t a, std::size_t b) {
      if (const Merge* m = find(a, b)) queue.push({m->rank, m->id, a});
    };
    for (std::size_t i = 0; i < n; ++i) {
      previous[i] = i == 0 ? none : i - 1;
      next[i] = i + 1 == n ? none : i + 1;
      if (i + 1 < n) push(i, i + 1);
    }
    while (!queue.empty()) {
      const Candidate top = queue.top();
      queue.pop();
      // Neighbours may have changed since it was found.
      if (gone[top.at] || next[top.at] == none) continue;
      const std::size_t right = next[top.at];
      const Merge* now = find(top.at, right);
      if (now == nullptr || now->id != top.id) continue;
      parts[top.at] = top.id;
      gone[right] = true;
      next[top.at] = next[right];
      if (next[right] != none) previous[next[right]] = top.at;
      if (previous[top.at] != none) push(previous[top.at], top.at);
      if (next[top.at] != none) push(top.at, next[top.at]);
    }
    std::size_t kept = 0;
    for (std::size_t i = 0; i < n; ++i)
      if (!gone[i]) parts[kept++] = parts[i];
    parts.resize(kept);
  }

  static std::uint64_t key_of(std::uint32_t a, std::uint32_t b) { return (std::uint64_t{a} << 32) | b; }

  std::string file_, name_;
  std::int64_t vocab_size_ = 0;
  std::unordered_map<std::string, std::uint32_t> ids_, by_bytes_;
  std::array<std::optional<std::uint32_t>, 256> byte_ids_{};
  std::optional<std::uint32_t> unknown_;
  std::unordered_map<std::uint64_t, Merge> merges_;
  AddedTokens as_given_, normalized_;
  bool ignore_merges_ = false, fuse_unknown_ = false, nfc_ = false;
  std::vector<Step> steps_;
  mutable std::unordered_map<std::string, std::vector<std::uint32_t>> cache_;
};

}  // namespace

std::unique_ptr<Tokenizer> make_byte_bpe_tokenizer(const fs::path& folder) {
  return std::make_unique<ByteBpeTokenizer>(folder);
}

}  // namespace scalevec::experiments
