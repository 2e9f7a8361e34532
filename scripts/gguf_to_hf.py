#!/usr/bin/env python3
"""A Llama-type GGUF file as a Hugging Face folder: config.json, model.safetensors (float32), tokenizer.json.

    pip install gguf numpy safetensors
    scripts/gguf_to_hf.py MODEL.gguf FOLDER

Only what SmolLM2's file has is read: architecture "llama", tied or untied, a byte-level BPE tokenizer of type "smollm".
"""

import json
import pathlib
import sys

import gguf
import numpy
import safetensors.numpy

NAMES = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
         "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
         "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
OUTSIDE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def as_rotated_halves(w, heads):
    """llama.cpp rotates neighbours, Hugging Face element i with i + head_dim/2: their rows stand in another order."""
    return w.reshape(heads, w.shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(w.shape)


def main():
    source, out = sys.argv[1], pathlib.Path(sys.argv[2])
    reader = gguf.GGUFReader(source)
    field = lambda name: reader.fields[name].contents()
    if field("general.architecture") != "llama" or field("tokenizer.ggml.pre") != "smollm":
        sys.exit(f"{source}: is no SmolLM of architecture llama")
    heads, kv_heads = field("llama.attention.head_count"), field("llama.attention.head_count_kv")
    weights = {}
    for tensor in reader.tensors:
        # Gains are stored in float32; quantised matrices are what their blocks stand for.
        value = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32)
        parts = tensor.name.split(".")
        if parts[0] == "blk":
            name = f"model.layers.{parts[1]}.{NAMES[parts[2]]}.weight"
        else:
            name = OUTSIDE[parts[0]] + ".weight"
        if parts[-2] == "attn_q":
            value = as_rotated_halves(value, heads)
        if parts[-2] == "attn_k":
            value = as_rotated_halves(value, kv_heads)
        weights[name] = numpy.ascontiguousarray(value)
    out.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float32",
        "vocab_size": field("llama.vocab_size"), "hidden_size": field("llama.embedding_length"),
        "intermediate_size": field("llama.feed_forward_length"), "num_hidden_layers": field("llama.block_count"),
        "num_attention_heads": heads, "num_key_value_heads": kv_heads, "hidden_act": "silu",
        # Stored in float32: 1e-5 comes back as its six digits say.
        "rms_norm_eps": float(f"{field('llama.attention.layer_norm_rms_epsilon'):.6g}"),
        "rope_theta": float(field("llama.rope.freq_base")), "max_position_embeddings": field("llama.context_length"),
        "tie_word_embeddings": "lm_head.weight" not in weights, "bos_token_id": field("tokenizer.ggml.bos_token_id"),
        "eos_token_id": field("tokenizer.ggml.eos_token_id"), "pad_token_id": field("tokenizer.ggml.padding_token_id"),
    }
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")

    tokens, merges, types = (field(f"tokenizer.ggml.{k}") for k in ("tokens", "merges", "token_type"))
    special = [i for i, t in enumerate(types) if t == gguf.TokenType.CONTROL]
    split = {"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": tokens[i], **plain} for i in special], "normalizer": None,
        "pre_tokenizer": split, "post_processor": None, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {t: i for i, t in enumerate(tokens)}, "merges": merges},
    }
    (out / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False) + "\n")
    # Last, so that a folder with it is whole.
    safetensors.numpy.save_file(weights, out / ".model.safetensors", metadata={"format": "pt"})
    (out / ".model.safetensors").rename(out / "model.safetensors")
    print(f"wrote {out}: {sum(w.size for w in weights.values()):,} weights")


if __name__ == "__main__":
    main()
