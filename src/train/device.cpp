// What a run computes with where nothing else is asked for: said by `bittern --version`.
#include <string>

#include "bittern/config.h"
#include "bittern/trainer.h"
#include "train/session/session.h"

namespace bittern {

std::string device_description() {
  RunSection run;
  run.threads = 1;  // none is needed to ask
  return make_backend(run)->description();
}

}  // namespace bittern
