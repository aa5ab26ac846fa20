// See base/utf8.h.
#pragma once

#include "base/utf8.h"
