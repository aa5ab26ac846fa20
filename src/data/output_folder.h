// The folder that `prepare` makes: complete if and only if data.json is in it. Internal to src/data.
#pragma once

#include <string>
#include <vector>

namespace bittern {

/// Holds OUT/.preparing, where the files are written; destroyed without `commit`, it leaves OUT as it was.
class OutputFolder {
 public:
  /// Refuses a folder that holds something else, or prepared data unless `overwrite`, or that another run writes to.
  OutputFolder(const std::string& out, bool overwrite);
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;
  ~OutputFolder();

  const std::string& working() const { return working_; }
  /// Puts the named files in place, `last` after all others are durable. What was there before is replaced.
  void commit(const std::vector<std::string>& files, const std::string& last);

 private:
  std::string out_, working_;
  bool created_ = false;
  int lock_ = -1;
};

}  // namespace bittern
