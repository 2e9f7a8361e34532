#include <algorithm>
#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <unordered_map>

#include "scalevec/experiments/data/file_io.hpp"
#include "scalevec/experiments/data/sha256.hpp"
#include "scalevec/experiments/data/tokenizer.hpp"
#include "scalevec/experiments/data/unicode_ranges.hpp"
#include "scalevec/experiments/errors.hpp"

namespace scalevec {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

bool in_ranges(std::span<const unicode::Range> ranges, char32_t c) {
  const auto it =
      std::upper_bound(ranges.begin(), ranges.end(), c, [](char32_t x, const auto& r) { return x < r.low; });
  return it != ranges.begin() && c <= std::prev(it)->high;
}

bool is_letter(char32_t c) {
  return c < 0x80 ? (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') : in_ranges(unicode::kLetters, c);
}
bool is_number(char32_t c) { return c < 0x80 ? c >= '0' && c <= '9' : in_ranges(unicode::kNumbers, c); }
// \s of the regular expressions: the White_Space property.
bool is_space(char32_t c) {
  return (c >= 9 && c <= 13) || c == 32 || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
         c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

struct Char {
  char32_t code;
  std::size_t at;  // byte
};

// UTF-8 text by characters, one past the end added. Bytes that are no UTF-8 become U+FFFD, as Python's decoder with
// errors="replace" has them at least in number of ids per byte: they are refused by the caller instead.
std::vector<Char> characters(std::string_view text, bool& sound) {
  std::vector<Char> out;
  sound = true;
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = [&](std::size_t k) { return static_cast<unsigned char>(text[k]); };
    const unsigned char b = byte(i);
    const std::size_t length = b < 0x80 ? 1 : (b >> 5) == 6 ? 2 : (b >> 4) == 14 ? 3 : (b >> 3) == 30 ? 4 : 0;
    char32_t code = length == 1 ? b : length == 2 ? b & 31 : length == 3 ? b & 15 : b & 7;
    bool good = length > 0 && i + length <= text.size();
    for (std::size_t k = 1; good && k < length; ++k) {
      good = (byte(i + k) & 0xc0) == 0x80;
      code = (code << 6) | (byte(i + k) & 63);
    }
    const char32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (!good || code < least[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
      sound = false;
      return out;
    }
    out.push_back({code, i});
    i += length;
  }
  out.push_back({0, text.size()});
  return out;
}

// How text is cut into words: GPT-2's expression, Llama 3's, Qwen2's; SmolLM's is GPT-2's with every digit apart.
enum class Words { gpt2, llama3, qwen2 };

constexpr const char* kGpt2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
constexpr const char* kLlama3 =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
    "\\s+(?!\\S)|\\s+";
constexpr const char* kQwen2 =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
    "\\s+(?!\\S)|\\s+";

// The end of the word that starts at `i` of `end` characters.
std::size_t word_end(const std::vector<Char>& c, std::size_t i, std::size_t end, Words words) {
  const auto code = [&](std::size_t k) { return k < end ? c[k].code : char32_t{0}; };
  const auto run = [&](std::size_t k, auto holds) {
    while (k < end && holds(c[k].code)) ++k;
    return k;
  };
  const auto other = [](char32_t x) { return !is_space(x) && !is_letter(x) && !is_number(x); };
  const auto line = [](char32_t x) { return x == '\r' || x == '\n'; };
  const bool gpt2 = words == Words::gpt2;
  if (code(i) == '\'' && i + 1 < end) {
    const auto lower = [&](std::size_t k) {
      const char32_t x = code(k);
      if (gpt2) return x;  // ſ is a small s where case is ignored
      return x == 0x17f ? U's' : x >= U'A' && x <= U'Z' ? static_cast<char32_t>(x + 32) : x;
    };
    const char32_t a = lower(i + 1), b = i + 2 < end ? lower(i + 2) : char32_t{0};
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return i + 2;
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return i + 3;
  }
  if (gpt2) {
    const std::size_t start = code(i) == ' ' ? i + 1 : i;
    if (start < end) {
      if (is_letter(code(start))) return run(start, is_letter);
      if (is_number(code(start))) return run(start, is_number);
      if (other(code(start))) return run(start, other);
    }
  } else {
    const char32_t x = code(i);
    const std::size_t start = !line(x) && !is_letter(x) && !is_number(x) ? i + 1 : i;
    if (start < end && is_letter(code(start))) return run(start, is_letter);
    if (is_number(x)) return words == Words::qwen2 ? i + 1 : std::min(run(i, is_number), i + 3);
    const std::size_t marks = x == ' ' ? i + 1 : i;
    if (marks < end && other(code(marks))) return run(run(marks, other), line);
    // \s*[\r\n]+: up to the last line break of the white space.
    const std::size_t spaces = run(i, is_space);
    for (std::size_t k = spaces; k > i; --k)
      if (line(code(k - 1))) return k;
  }
  // White space: all of it at the end, else without its last character, which goes to the next word.
  const std::size_t spaces = run(i, is_space);
  return spaces < end && spaces > i + 1 ? spaces - 1 : spaces;
}

class ByteBpeTokenizer : public Tokenizer {
 public:
  explicit ByteBpeTokenizer(const fs::path& folder) : file_((folder / "tokenizer.json").string()) {
    const MappedFile map(file_);
    const json root = parse_json_if_sound(map.bytes());
    if (!root.is_object()) refuse("is no JSON object");
    name_ =
        "tokenizer.json:" + fs::path(folder / "").parent_path().filename().string() + " sha256 " + sha256(map.bytes());
    read_model(root);
    read_added(root);
    read_normalizer(root);
    read_words(root);
  }

  std::int64_t vocab_size() const override { return vocab_size_; }
  std::string name() const override { return name_; }

  void encode(std::string_view text, std::vector<std::uint32_t>& ids) const override {
    while (!text.empty()) {
      // The leftmost special token, of those that start there the longest.
      std::size_t at = std::string_view::npos;
      const std::pair<std::string, std::uint32_t>* found = nullptr;
      for (const auto& added : added_) {
        const std::size_t here =
            text.substr(0, at == std::string_view::npos ? text.size() : std::min(text.size(), at + added.first.size()))
                .find(added.first);
        if (here == std::string_view::npos ||
            (found != nullptr && (here > at || (here == at && added.first.size() <= found->first.size()))))
          continue;
        at = here;
        found = &added;
      }
      encode_plain(text.substr(0, at), ids);
      if (found == nullptr) return;
      ids.push_back(found->second);
      text.remove_prefix(at + found->first.size());
    }
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const { throw UsageError(file_ + ": " + what); }
  [[noreturn]] void unsupported(const std::string& part, const json& value, const std::string& allowed) const {
    refuse(part + ": got " + value.dump(-1, ' ', false, json::error_handler_t::replace).substr(0, 120) +
           "; allowed: " + allowed);
  }

  // The bytes that a token stands for; nothing where it has a character that stands for none.
  static bool bytes_of(const std::string& token, std::string& bytes) {
    static const std::unordered_map<char32_t, char> byte_of = [] {
      std::unordered_map<char32_t, char> map;
      char32_t next = 256;
      for (int b = 0; b < 256; ++b) {
        const bool plain = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        map[plain ? static_cast<char32_t>(b) : next++] = static_cast<char>(b);
      }
      return map;
    }();
    bool sound = false;
    const std::vector<Char> chars = characters(token, sound);
    if (!sound) return false;
    for (std::size_t i = 0; i + 1 < chars.size(); ++i) {
      const auto it = byte_of.find(chars[i].code);
      if (it == byte_of.end()) return false;
      bytes += it->second;
    }
    return true;
  }

  void read_model(const json& root) {
    const json model = root.value("model", json());
    if (!model.is_object() || (model.contains("type") && model["type"] != "BPE"))
      unsupported("model.type", model.is_object() ? model.value("type", json()) : model, "BPE");
    for (const char* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "unk_token"})
      if (model.contains(key) && !model[key].is_null() && model[key] != "" && std::string(key) != "unk_token")
        unsupported(std::string("model.") + key, model[key], "null");
    if (model.value("byte_fallback", json(false)) == true) unsupported("model.byte_fallback", true, "false");
    ignore_merges_ = model.value("ignore_merges", json(false)) == true;
    if (!model.contains("vocab") || !model["vocab"].is_object() || !model.contains("merges") ||
        !model["merges"].is_array())
      refuse("model: has no vocab or no merges");
    std::unordered_map<std::string, std::uint32_t> by_name;
    for (const auto& [token, id] : model["vocab"].items()) {
      if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= (1u << 31))
        unsupported("model.vocab." + token, id, "an id");
      const auto value = id.get<std::uint32_t>();
      by_name[token] = value;
      vocab_size_ = std::max<std::int64_t>(vocab_size_, std::int64_t{value} + 1);
      std::string bytes;
      if (bytes_of(token, bytes)) by_bytes_[bytes] = value;
    }
    for (int b = 0; b < 256; ++b) {
      const auto it = by_bytes_.find(std::string(1, static_cast<char>(b)));
      if (it == by_bytes_.end())
        refuse("model.vocab: has no token for the byte " + std::to_string(b) + ", as a byte-level BPE has");
      byte_ids_[static_cast<std::size_t>(b)] = it->second;
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
      const auto a = by_name.find(left), b = by_name.find(right), both = by_name.find(left + right);
      if (a == by_name.end() || b == by_name.end() || both == by_name.end())
        unsupported("model.merges", merge, "tokens of the vocab");
      merges_.emplace(key_of(a->second, b->second), Merge{rank++, both->second});
    }
  }

  void read_added(const json& root) {
    for (const json& token : root.value("added_tokens", json::array())) {
      if (!token.is_object() || !token.contains("content") || !token["content"].is_string() || !token.contains("id") ||
          !token["id"].is_number_unsigned())
        unsupported("added_tokens", token, "objects with content and id");
      const auto content = token["content"].get<std::string>();
      for (const char* key : {"single_word", "lstrip", "rstrip"})
        if (token.value(key, json(false)) == true) unsupported("added_tokens." + content + "." + key, true, "false");
      added_.emplace_back(content, token["id"].get<std::uint32_t>());
      vocab_size_ = std::max<std::int64_t>(vocab_size_, token["id"].get<std::int64_t>() + 1);
    }
    std::erase_if(added_, [](const auto& added) { return added.first.empty(); });
  }

  void read_normalizer(const json& root) {
    const json normalizer = root.value("normalizer", json());
    if (normalizer.is_null()) return;
    if (!normalizer.is_object() || normalizer.value("type", json()) != "NFC")
      unsupported("normalizer", normalizer, "null, NFC");
    nfc_ = true;
  }

  void read_words(const json& root) {
    const char* allowed =
        "ByteLevel with GPT-2's expression, Digits (each apart) or a Split by Llama 3's or Qwen2's before it";
    json steps = root.value("pre_tokenizer", json());
    if (steps.is_object() && steps.value("type", json()) == "Sequence")
      steps = steps.value("pretokenizers", json());
    else
      steps = json::array({steps});
    bool level = false, split = false;
    for (const json& step : steps) {
      const json type = step.is_object() ? step.value("type", json()) : json();
      if (type == "Digits" && !level && !split && step.value("individual_digits", json(false)) == true) {
        digits_apart_ = true;
      } else if (type == "Split" && !level && !split && !digits_apart_ &&
                 step.value("behavior", json()) == "Isolated" && step.value("invert", json(false)) == false) {
        const json pattern = step.value("pattern", json());
        const json regex = pattern.is_object() ? pattern.value("Regex", json()) : json();
        if (regex == kLlama3)
          words_ = Words::llama3;
        else if (regex == kQwen2)
          words_ = Words::qwen2;
        else if (regex == kGpt2)
          words_ = Words::gpt2;
        else
          unsupported("pre_tokenizer", step, allowed);
        split = true;
      } else if (type == "ByteLevel" && !level && step.value("add_prefix_space", json(true)) == false) {
        // Two expressions one after the other are not one of them.
        if (split == (step.value("use_regex", json(true)) == true)) unsupported("pre_tokenizer", step, allowed);
        level = true;
      } else {
        unsupported("pre_tokenizer", step, allowed);
      }
    }
    if (!level) unsupported("pre_tokenizer", root.value("pre_tokenizer", json()), allowed);
  }

  void encode_plain(std::string_view text, std::vector<std::uint32_t>& ids) const {
    bool sound = false;
    const std::vector<Char> chars = characters(text, sound);
    if (!sound) throw UsageError(name_ + ": the text is not UTF-8");
    if (nfc_) check_nfc(chars);
    const std::size_t count = chars.size() - 1;
    for (std::size_t start = 0; start < count;) {
      // Digits split first: what is between them is cut into words by itself.
      std::size_t end = count;
      if (digits_apart_) {
        end = start;
        if (is_number(chars[start].code))
          ++end;
        else
          while (end < count && !is_number(chars[end].code)) ++end;
      }
      for (std::size_t i = start; i < end;) {
        const std::size_t next = word_end(chars, i, end, words_);
        encode_word(text.substr(chars[i].at, chars[next].at - chars[i].at), ids);
        i = next;
      }
      start = end;
    }
  }

  // NFC of text that is in NFC is the text; other text is refused.
  void check_nfc(const std::vector<Char>& chars) const {
    bool mark_before = false;
    for (std::size_t i = 0; i + 1 < chars.size(); ++i) {
      const char32_t c = chars[i].code;
      if (c < 0x300) continue;
      const bool mark = in_ranges(unicode::kMarks, c);
      if (in_ranges(unicode::kNotAlwaysNfc, c) || (mark && mark_before)) {
        char code[16];
        std::snprintf(code, sizeof code, "U+%04X", static_cast<unsigned>(c));
        throw UsageError(name_ + ": the text has " + code +
                         ", which the tokenizer's normal form NFC may change; allowed: text that is in NFC without "
                         "combining characters");
      }
      mark_before = mark;
    }
  }

  void encode_word(std::string_view word, std::vector<std::uint32_t>& ids) const {
    const std::string key(word);
    if (const auto known = cache_.find(key); known != cache_.end()) {
      ids.insert(ids.end(), known->second.begin(), known->second.end());
      return;
    }
    std::vector<std::uint32_t> parts;
    if (const auto whole = by_bytes_.find(key); ignore_merges_ && whole != by_bytes_.end()) {
      parts = {whole->second};
    } else {
      for (const char c : word) parts.push_back(byte_ids_[static_cast<unsigned char>(c)]);
      while (parts.size() > 1) {
        // The merge of lowest rank, of equals the leftmost.
        const Merge* best = nullptr;
        std::size_t at = 0;
        for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
          const auto it = merges_.find(key_of(parts[i], parts[i + 1]));
          if (it == merges_.end() || (best != nullptr && it->second.rank >= best->rank)) continue;
          best = &it->second;
          at = i;
        }
        if (best == nullptr) break;
        parts[at] = best->id;
        parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at) + 1);
      }
    }
    ids.insert(ids.end(), parts.begin(), parts.end());
    if (cache_.size() < 500'000 && word.size() <= 64) cache_.emplace(key, std::move(parts));
  }

  struct Merge {
    std::uint32_t rank, id;
  };
  static std::uint64_t key_of(std::uint32_t a, std::uint32_t b) { return (std::uint64_t{a} << 32) | b; }

  std::string file_, name_;
  std::int64_t vocab_size_ = 0;
  std::unordered_map<std::string, std::uint32_t> by_bytes_;
  std::array<std::uint32_t, 256> byte_ids_{};
  std::unordered_map<std::uint64_t, Merge> merges_;
  std::vector<std::pair<std::string, std::uint32_t>> added_;
  bool ignore_merges_ = false, nfc_ = false, digits_apart_ = false;
  Words words_ = Words::gpt2;
  mutable std::unordered_map<std::string, std::vector<std::uint32_t>> cache_;
};

}  // namespace

std::unique_ptr<Tokenizer> make_byte_bpe_tokenizer(const fs::path& folder) {
  return std::make_unique<ByteBpeTokenizer>(folder);
}

}  // namespace scalevec
