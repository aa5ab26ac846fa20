# Writes OUTPUT, the source that knows which commit the program was built from (src/app/version.h). Run at every build, for a
# commit moves without any file being configured anew; the file is touched only when its text changes.
#   cmake -D SOURCE=... -D INPUT=... -D OUTPUT=... -D BUILD_TYPE=... -P cmake/version.cmake
set(COMMIT "")
find_program(GIT git)
if(GIT AND EXISTS ${SOURCE}/.git)
  execute_process(COMMAND ${GIT} -C ${SOURCE} describe --always --exclude=* --abbrev=12 --dirty=-changed
    OUTPUT_VARIABLE COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
if(NOT COMMIT)  # an archive of the sources
  set(COMMIT unknown)
endif()
configure_file(${INPUT} ${OUTPUT} @ONLY)
