"""Writes the fuzzers' first inputs: for each reader a few small files that it takes, between them with every key, and a
few that it refuses. What the fuzzers tripped over is kept beside them as found-*.

    python3 tests/fuzz/make_corpus.py
"""
import json
import pathlib
import struct

CORPUS = pathlib.Path(__file__).parent / "corpus"


def put(reader, name, data):
    folder = CORPUS / reader
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())


GAMMA = {"present": True, "form": "zero_centred", "initial": 0.5}
POLICY = {"lr": 3e-3, "max_norm": 1, "defaults": {"beta2": 0.95, "method": "adamw"}, "rules": [
    {"match": {"kind": ["matrix", "embedding"]}, "weight_decay": 0.1, "decay_coupling": "lr"},
    {"match": {"kind": "scale", "norm_class": "input", "side": "before", "part": "value", "layer": [0, 1]},
     "lr_mult": 3, "decay_target": 1, "weight_decay": 0.1},
    {"match": {"site": "attn.*", "name": "layers.?.*"}, "method": "muon", "clip": False}]}
DECODER = {"type": "decoder", "vocab_size": 64, "width": 32, "layers": 2, "heads": 4, "kv_heads": 2, "head_dim": 8,
           "mlp_width": 48, "rope_theta": 1e4, "norm_eps": 1e-5, "tie_embeddings": True, "scale_vectors": True,
           "qk_norm": True, "qk_norm_scale": True, "init_std": 0.02, "init_depth_scaling": False,
           "scales": {"preset": "plain", "input": GAMMA, "output": GAMMA, "post": GAMMA, "qk_norm": GAMMA, "final": GAMMA,
                      "branches": ["attn", "ffn"], "experts": "each", "placement": "both", "maps": ["attn.q", "ffn.up"],
                      "allow_inert": True, "multipliers": {"scalar": True, "rows": True, "columns": False,
                                                           "maps": ["attn.o"]}},
           "norm": "layer", "norm_placement": "pre", "final_norm": True, "qk_norm_width": "full", "activation": "gelu",
           "qkv_bias": True, "o_bias": True, "windows": [0, 16], "attn_softcap": 30, "logit_softcap": 30,
           "rope_scaling": {"kind": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4,
                            "original_length": 64},
           "local_rope_theta": 1e3, "query_scale": 0.1, "embed_scale": 2, "residual_depth_scaling": True,
           "moe": {"experts": 4, "top_k": 2, "normalise_top_k": True, "expert_width": 16, "shared_width": 16,
                   "balance_loss": 0.01, "balance_bias_rate": 0.001}, "execution": "naive"}
RUN = {"name": "run", "seed": 1, "data_seed": 2, "threads": 1, "device": "cpu", "dtype": "float32", "steps": 40,
       "batch_size": 4, "accumulation": 2, "sequence_length": 32, "model": DECODER, "optimizer": POLICY,
       "data": {"synthetic": {"vocab_size": 64, "zipf_exponent": 1.1, "branching": 4, "mixing": 0.2, "seed": 3,
                              "validation_windows": 8}},
       "schedule": {"shape": "wsd", "warmup_steps": 5, "total_steps": 40, "final_factor": 0.1, "decay_steps": 10,
                    "decay_shape": "sqrt"},
       "validation": {"every": 10, "batches": 2}, "log": {"every": 1, "traces_every": 5, "snr": True},
       "checkpoint": {"every": 7, "keep": 2}}
TOY = {"model": {"type": "output_scale", "replicas": 16, "curvature": 1, "target": 2, "sigma": 1.5, "initial": 1},
       "steps": 100, "optimizer": {"lr": 1e-2, "rules": [{"match": {}}]}}
HF = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
      "num_key_value_heads": 2, "head_dim": 8, "rms_norm_eps": 1e-6, "tie_word_embeddings": False}
GRID = {"name": "grid", "base": {"steps": 10, "optimizer": {"lr": 1e-3, "rules": [{"match": {}}]}},
        "variants": {"plain": {}, "decay": {"optimizer.rules.0.weight_decay": 0.1}}, "baseline": "plain",
        "grid": {"optimizer.lr": [1e-3, 2e-3], "seed": [1, 2]}, "tuning_seeds": [7], "lr_key": "optimizer.lr",
        "seed_key": "seed"}
SUMMARY = {"status": "done", "val_loss": 1.25, "steps": 10, "seconds": 0.5}


def cells(grid):
    return [{"name": f"{v}/lr={lr},seed={s}", "variant": v, "setting": {"optimizer.lr": lr}, "seed": s,
             "tuning": s in grid["tuning_seeds"], "hash": "0123456789abcdef"}
            for s in [7, 1, 2] for lr in grid["grid"]["optimizer.lr"] for v in grid["variants"]]


def manifest(grid):
    return {"name": "grid", "variants": list(grid["variants"]), "baseline": "plain", "lr_key": "optimizer.lr",
            "seed_key": "seed", "seeds": [1, 2], "tuning_seeds": [7],
            "axes": [{"key": "optimizer.lr", "values": [1e-3, 2e-3]}], "cells": cells(grid)}


def tokens(count, ids, magic=20240520, version=1, code="H"):
    return struct.pack("<256i", magic, version, count, *[0] * 253) + struct.pack(f"<{len(ids)}{code}", *ids)


def safetensors(header, data):
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


put("policy", "all.json", POLICY)
for method in ("adamw", "adam", "sgd", "lion", "signum", "ademamix", "muon", "normuon", "soap"):
    put("policy", method + ".json", {"lr": 1e-3, "rules": [{"match": {}, "method": method}]})
put("policy", "tie.json", {"lr": 1, "rules": []})
put("run_config", "all.json", RUN)
put("run_config", "toy.json", TOY)
put("run_config", "set.json", json.dumps(TOY).encode() + b"\0optimizer.rules.0.weight_decay=0.1")
put("run_config", "folder.json", {**RUN, "model": {"width": 32}, "data": {"dir": "data/text"}})
for preset in ("plain", "hg", "dp", "dnp", "or", "unified"):
    put("run_config", f"scales-{preset}.json", {"model": {"scales": preset}, "data": {"synthetic": {}}, "steps": 1,
                                                "optimizer": {}})
put("grid", "all.json", GRID)
put("grid", "file.json", {**GRID, "base": "base.json"})
put("grid", "twice.json", b'{"base": {}, "base": {}}')
put("token_file", "three.bin", tokens(3, [1, 2, 65535]))
put("token_file", "empty.bin", tokens(0, []))
put("token_file", "truncated.bin", tokens(4, [1, 2, 3]))
put("token_file", "wide.bin", tokens(3, [1, 128255, 2**32 - 1], 20240801, 7, "I"))
put("token_file", "wide-truncated.bin", tokens(3, [1, 2], 20240801, 7, "I"))
put("token_file", "wide-version.bin", tokens(1, [1], 20240801, 1, "I"))
SPECIAL = {"id": 300, "content": "<|e\u0301|>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "special": True}
VOCAB = {chr(c): c for c in range(33, 127)} | {"\u0120": 1, "it": 2, "\u0120it": 3}
LEVEL = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
TOKENIZER = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [SPECIAL], "normalizer": {"type": "NFC"},
             "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                 {"type": "Digits", "individual_digits": True},
                 {"type": "Split", "pattern": {"Regex": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"},
                  "behavior": "Isolated", "invert": False}, LEVEL]},
             "post_processor": None, "decoder": LEVEL,
             "model": {"type": "BPE", "dropout": None, "unk_token": "?", "continuing_subword_prefix": None, "end_of_word_suffix": None,
                       "fuse_unk": True, "byte_fallback": False, "ignore_merges": True, "vocab": VOCAB, "merges": [["i", "t"], "\u0120 it"]}}
put("tokenizer", "all", json.dumps(TOKENIZER).encode() + b"\0it's <|\xc3\xa9|> 12")
put("tokenizer", "plain", json.dumps(TOKENIZER | {"normalizer": None, "added_tokens": [], "pre_tokenizer": LEVEL}).encode() + b"\0a\xff")
put("tokenizer", "other-model", {"model": {"type": "Unigram", "vocab": []}})
INDEX = {"metadata": {"total_size": 24}, "weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}
put("shard_index", "two.json", INDEX)
put("shard_index", "lacking.json", INDEX | {"weight_map": {"w": "a.safetensors"}})
put("shard_index", "outside.json", INDEX | {"weight_map": {"x": "../a.safetensors"}})
put("shard_index", "no-map.json", {"weight_map": []})
put("shard_index", "empty.json", b"")
put("shard_index", "torn.json", b'{"weight_map": {"x": "a.safetens')
put("shard_index", "twice.json", b'{"weight_map": {}, "weight_map": {}}')
TABLE = [{"model_types": ["mine"], "prefix": "model.", "offset": 1, "scales": [
    {"site": "attn.{q,k}_norm", "scale": "layers.{L}.{q,k}_norm.weight", "readers": []},
    {"site": "attn", "scale": "layers.{L}.ln_1.weight", "offset": 0, "tied": "wte.weight",
     "readers": ["layers.{L}.{q,k,v}.weight", {"name": "layers.{L}.experts.{E}.in", "axis": 0}]}]}]
put("name_table", "all.json", TABLE)
put("name_table", "many.json", [{"model_types": ["mine"], "scales": [{"site": "a", "scale": "{a,b}" * 30}]}])
put("name_table", "nested.json", [{"model_types": ["mine"], "scales": [{"site": "a", "scale": "{{}{L}}"}]}])
put("safetensors", "two.safetensors", safetensors(
    {"__metadata__": {"format": "pt"}, "a": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]},
     "b": {"dtype": "BF16", "shape": [3], "data_offsets": [8, 14]}}, bytes(range(14))))
put("safetensors", "empty.safetensors", safetensors({"none": {"dtype": "I64", "shape": [0, 5], "data_offsets": [0, 0]}}, b""))
put("safetensors", "gap.safetensors", safetensors({"a": {"dtype": "U8", "shape": [2], "data_offsets": [1, 3]}}, b"abc"))
put("json_lines", "log.jsonl", b"\x02" + b"".join(json.dumps(line).encode() + b"\n" for line in [
    {"kind": "val", "step": 0, "tokens": 0, "loss": 3.5}, {"kind": "train", "step": 1, "loss": 3.4, "lr": 1e-3},
    {"step": 5, "params": [{"name": "w", "gamma_quantiles": [0.1, 0.9]}], "groups": []}]))
put("json_lines", "torn.jsonl", b"\x02" + b'{"step": 1}\n{"step": 2, "lo')
put("json_lines", "bad.jsonl", b"\x02" + b'{"step": 1}\nnonsense\n{"step": 2}\n[]\n')
put("record", "summary", b"\x40\x01" + json.dumps(SUMMARY).encode())
put("record", "checked", b"\0\0" + b'{"a": 1,\n  "checksum": "xxh3:0123456789abcdef"\n}\n')
put("record", "line", b"\x09\0" + b'{"step":1,"checksum":"0123456789abcdef"}')
put("record", "empty", b"\0\0{}")
put("record", "zero", b'\0\0{}\0 "checksum": "xxh3:0123456789abcdef"')
put("run_record", "all", json.dumps(manifest(GRID)).encode() + b"\0" + json.dumps(SUMMARY).encode())
put("run_record", "no-summary", json.dumps({**manifest(GRID), "cells": cells(GRID)[:2]}).encode())
put("run_record", "foreign", {"name": "x", "cells": []})
put("hugging_face", "llama.json", {**HF, "model_type": "llama", "hidden_act": "silu", "attention_bias": False,
                                   "rope_theta": 5e5, "mlp_bias": False, "torch_dtype": "bfloat16",
                                   "rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1,
                                                    "high_freq_factor": 4, "original_max_position_embeddings": 64}})
put("hugging_face", "qwen3.json", {**HF, "model_type": "qwen3", "use_sliding_window": True, "sliding_window": 8,
                                   "max_window_layers": 1, "layer_types": ["full_attention", "sliding_attention"]})
put("hugging_face", "qwen3_moe.json", {**HF, "model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 2,
                                       "moe_intermediate_size": 16, "norm_topk_prob": True, "decoder_sparse_step": 1,
                                       "mlp_only_layers": []})
put("hugging_face", "olmo2.json", {**HF, "model_type": "olmo2"})
put("hugging_face", "gemma2.json", {**HF, "model_type": "gemma2", "final_logit_softcapping": 30.0, "sliding_window": 8,
                                    "attn_logit_softcapping": None, "query_pre_attn_scalar": 8,
                                    "hidden_activation": "gelu_pytorch_tanh"})
put("hugging_face", "gemma3.json", {**HF, "model_type": "gemma3_text", "sliding_window_pattern": 2,
                                    "rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8,
                                                                           "rope_theta": 1e6},
                                                        "sliding_attention": {"rope_type": "default",
                                                                              "rope_theta": 1e4}}})
put("hugging_face", "mixtral.json", {**HF, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2,
                                     "sliding_window": None})
