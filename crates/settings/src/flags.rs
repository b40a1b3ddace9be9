//! Flags that override settings, in groups that commands flatten.

use crate::{Config, Origin, Setting};
use std::path::PathBuf;
use templar_base::Netuid;
use templar_engine::DeviceName;

/// A group of flags that override settings.
pub trait SettingFlags {
    /// Puts what was given into the configuration.
    fn put_into(&self, config: &mut Config);
}

/// Groups of flags, each of which overrides one setting: the help, the field, the type, its name in the help.
macro_rules! flag_groups {
    ($($group:ident { $(#[doc = $help:literal] $field:ident: $kind:ty, $value:literal, $flag:literal => $setting:ident;)* })*) => {
        $(
            /// A group of flags that override settings.
            #[derive(Debug, Clone, Default, clap::Args)]
            pub struct $group {
                $(#[doc = $help]
                #[arg(long, value_name = $value, allow_negative_numbers = true)]
                pub $field: Option<$kind>,)*
            }

            impl SettingFlags for $group {
                fn put_into(&self, config: &mut Config) {
                    $(config.set(Setting::$setting, $flag, self.$field.as_ref());)*
                }
            }
        )*
    };
}

flag_groups! {
    DataFlag {
        /// Folder for what commands create; ~/.local/share/templar by default [setting: data_folder]
        data: String, "FOLDER", "--data" => DataFolder;
    }
    LedgerFlag {
        /// Address of the ledger; by default the local network's, else ws://127.0.0.1:9944 [setting: ledger]
        ledger: String, "URL", "--ledger" => Ledger;
    }
    SubnetFlags {
        /// Address of the ledger; by default the local network's, else ws://127.0.0.1:9944 [setting: ledger]
        ledger: String, "URL", "--ledger" => Ledger;
        /// Subnet of the ledger [setting: netuid]
        netuid: Netuid, "N", "--netuid" => Netuid;
    }
    NetuidFlag {
        /// Subnet of the ledger [setting: netuid]
        netuid: Netuid, "N", "--netuid" => Netuid;
    }
    WalletFlags {
        /// Folder of the wallets; ~/.bittensor/wallets by default [setting: wallet_folder]
        wallet_folder: String, "FOLDER", "--wallet-folder" => WalletFolder;
        /// Name of the wallet; `default` by default [setting: wallet]
        wallet: String, "NAME", "--wallet" => Wallet;
    }
    HotkeyFlag {
        /// Name of the hotkey; `default` by default [setting: hotkey]
        hotkey: String, "NAME", "--hotkey" => Hotkey;
    }
    ThreadsFlag {
        /// Threads for computing; all cores by default [setting: threads]
        threads: String, "N", "--threads" => Threads;
    }
    EngineFlags {
        /// Engine: cpu, or torch for PyTorch (torch:cuda, torch:cpu); cpu by default [setting: engine]
        engine: DeviceName, "NAME", "--engine" => Engine;
        /// Processes of PyTorch, one for each GPU, 1 to 64; 1 by default [setting: ranks]
        ranks: String, "N", "--ranks" => Ranks;
        /// Python interpreter with PyTorch; by default that of `templar doctor --setup torch` [setting: python]
        python: String, "FILE", "--python" => Python;
    }
    FieldFlag {
        /// Field or column of the text in JSON lines and Parquet; a dot goes into an object [setting: field]
        field: String, "NAME", "--field" => Field;
        /// Files of a folder to read: auto, text, json-lines, parquet or all [setting: text_kind]
        text_kind: String, "KIND", "--text-kind" => TextKind;
    }
    PresetFlag {
        /// Size of the model; `templar model presets` lists them [setting: preset]
        preset: String, "NAME", "--preset" => Preset;
    }
}

/// `--text` and `--field`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct TextFlags {
    /// Files, folders or pipes with text, JSON lines or Parquet; - is the standard input [setting: text]
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub text: Vec<PathBuf>,
    #[command(flatten)]
    field: FieldFlag,
}

impl TextFlags {
    /// Whether a field or a kind of file is chosen.
    pub(crate) fn chooses_field(&self) -> bool {
        self.field.field.is_some() || self.field.text_kind.is_some()
    }
}

impl SettingFlags for TextFlags {
    fn put_into(&self, config: &mut Config) {
        if !self.text.is_empty() {
            config.set_text(self.text.clone(), Origin::Flag("--text"));
        }
        self.field.put_into(config);
    }
}
