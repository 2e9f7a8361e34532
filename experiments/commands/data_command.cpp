#include "experiments/commands/data_command.hpp"

#include <iomanip>
#include <iostream>
#include <memory>

#include "experiments/data/info.hpp"
#include "experiments/data/prepare.hpp"
#include "experiments/data/tokenizer.hpp"
#include "experiments/errors.hpp"

namespace scalevec::experiments {
namespace {

// 1234567 as "1,234,567".
std::string grouped(std::int64_t number) {
  std::string digits = std::to_string(number);
  for (int at = static_cast<int>(digits.size()) - 3; at > 0; at -= 3) digits.insert(at, ",");
  return digits;
}

void print_prepared(const PrepareResult& result, const std::filesystem::path& out) {
  const DataManifest& m = result.manifest;
  if (result.written) {
    std::cout << "wrote " << out.string() << "\n";
  } else {
    std::cout << out.string() << " is up to date: same texts, same options\n";
  }
  for (const auto& source : m.sources) {
    std::cout << "  source  " << source.name << ", " << grouped(source.bytes) << " bytes, sha256 " << source.sha256
              << "\n";
  }
  std::cout << "  train   " << grouped(m.train.tokens()) << " tokens in " << m.train.shards.size() << " file(s)\n"
            << "  val     " << grouped(m.val.tokens()) << " tokens in " << m.val.shards.size() << " file(s), "
            << grouped(m.val.blocks) << " blocks, one in " << m.val_every << "\n"
            << "  ids     0 to " << m.vocab_size - 1 << " (tokenizer " << m.tokenizer << ")\n"
            << "  sha256  " << m.sha256 << "\n";
  for (const std::string& note : result.notes) std::cout << "  note    " << note << "\n";
  std::cout << "next: scalevec data info " << out.string() << "\n";
}

void print_info(const DataInfo& info, const std::string& path) {
  std::cout << path << "\n";
  for (const auto& split : info.splits) {
    std::cout << "  " << std::left << std::setw(6) << split.name << "  " << split.files << " file(s), "
              << grouped(split.tokens) << " tokens";
    if (split.ids) std::cout << ", ids " << split.ids->low << " to " << split.ids->high;
    std::cout << "\n";
  }
  std::cout << "  vocabulary needed: " << info.vocab_size_needed() << "\n";
  if (info.manifest) {
    std::cout << "  prepared by scalevec: tokenizer " << info.manifest->tokenizer << ", vocabulary "
              << info.manifest->vocab_size << ", validation one block in " << info.manifest->val_every << "\n";
    for (const auto& source : info.manifest->sources) {
      std::cout << "  source " << source.name << ", " << grouped(source.bytes) << " bytes, sha256 " << source.sha256
                << "\n";
    }
  } else if (info.splits.size() > 1) {
    std::cout << "  no data.json: made by another program\n";
  }
  if (!info.sha256.empty()) std::cout << "  sha256 " << info.sha256 << "\n";
  for (const auto& error : info.errors) std::cout << "  BAD " << error << "\n";
  if (info.errors.empty()) {
    std::cout << "  all files are sound\n";
    return;
  }
  throw UsageError(info.errors.size() == 1
                       ? info.errors.front()
                       : info.errors.front() + " (and " + std::to_string(info.errors.size() - 1) + " more)");
}

void add_prepare(CLI::App& data) {
  const auto options = std::make_shared<PrepareOptions>();
  const auto texts = std::make_shared<std::vector<std::string>>();
  const auto out = std::make_shared<std::string>();
  CLI::App* command = data.add_subcommand("prepare", "Turn text files into training and validation tokens");
  command->add_option("--text", *texts, "Text files, in order")->required()->type_name("FILE");
  command->add_option("--out", *out, "Folder to write: train_*.bin, val_*.bin, data.json")
      ->required()
      ->type_name("DIR");
  command
      ->add_option("--tokenizer", options->tokenizer,
                   "How text becomes token ids; allowed: bytes, sentencepiece:MODEL, a folder with tokenizer.json")
      ->capture_default_str()
      ->type_name("NAME");
  command->add_option("--val-fraction", options->val_fraction, "Share of the text's blocks held out, evenly spread")
      ->capture_default_str();
  command->add_option("--block", options->block_bytes, "Bytes of text per block; a block ends at a line break")
      ->capture_default_str()
      ->type_name("N");
  command->add_option("--shard-tokens", options->shard_tokens, "Most tokens per file")
      ->capture_default_str()
      ->type_name("N");
  command->footer("Example:\n  scalevec data prepare --text dictionary.txt --out data/dictionary --val-fraction 0.05");
  command->callback([=] {
    options->texts.assign(texts->begin(), texts->end());
    options->out = *out;
    print_prepared(prepare_data(*options), *out);
  });
}

void add_train_tokenizer(CLI::App& data) {
  const auto options = std::make_shared<TrainTokenizerOptions>();
  const auto texts = std::make_shared<std::vector<std::string>>();
  const auto out = std::make_shared<std::string>();
  CLI::App* command = data.add_subcommand("train-tokenizer", "Train a SentencePiece vocabulary on text files");
  command->add_option("--text", *texts, "Text files, UTF-8")->required()->type_name("FILE");
  command->add_option("--vocab", options->vocab_size, "Number of pieces")->capture_default_str()->type_name("N");
  command->add_option("--out", *out, "Model file to write")->required()->type_name("FILE");
  command->footer(
      "Example:\n  scalevec data train-tokenizer --text dictionary.txt --vocab 8192 --out data/dictionary.model\n"
      "  scalevec data prepare --text dictionary.txt --tokenizer sentencepiece:data/dictionary.model --out data/dict");
  command->callback([=] {
    options->texts.assign(texts->begin(), texts->end());
    options->out = *out;
    train_tokenizer(*options);
    std::cout << "wrote " << *out << ": " << grouped(options->vocab_size) << " pieces\n"
              << "next: scalevec data prepare --tokenizer sentencepiece:" << *out << " --text FILE --out DIR\n";
  });
}

void add_info(CLI::App& data) {
  const auto path = std::make_shared<std::string>();
  CLI::App* command = data.add_subcommand("info", "Check and describe token files, also ones made by others");
  command->add_option("PATH", *path, "Folder of shards, or one .bin file")->required()->type_name("DIR|FILE.bin");
  command->footer("Example:\n  scalevec data info data/dictionary");
  command->callback([=] { print_info(inspect_data(*path), *path); });
}

}  // namespace

void add_data_command(CLI::App& app) {
  CLI::App* data = app.add_subcommand("data", "Prepare, check and describe training tokens");
  data->require_subcommand(1);
  data->footer("Example:\n  scalevec data prepare --text book.txt --out data/book\n  scalevec data info data/book");
  add_prepare(*data);
  add_train_tokenizer(*data);
  add_info(*data);
}

}  // namespace scalevec::experiments
