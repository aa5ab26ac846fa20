// checkpoint_folder: the folder of weights that a path of a user means.
#pragma once

#include <string>

namespace bittern {

/// The folder that holds the weights: `path` itself, or the newest usable checkpoint of the run that it is. Every byte
/// of a checkpoint was checked then.
std::string checkpoint_folder(const std::string& path);

}  // namespace bittern
