# cmake -DOUT=FILE.cpp -DHEADER=NAME.h -DFILES="a.js;b.css" -P embed.cmake: writes a C++ file that holds the text of each file
# as the string that HEADER declares: a.js becomes bittern::a_js. The bytes are those of the file.
set(TEXT "// Made by cmake/embed.cmake; edit the files that it is made of.\n#include \"${HEADER}\"\n\nnamespace bittern {\n")
foreach(FILE ${FILES})
  get_filename_component(NAME ${FILE} NAME)
  string(MAKE_C_IDENTIFIER ${NAME} NAME)
  file(READ ${FILE} CONTENT)
  string(APPEND TEXT "\nconst std::string_view ${NAME} = R\"file_text(${CONTENT})file_text\";\n")
endforeach()
string(APPEND TEXT "\n}  // namespace bittern\n")
file(WRITE ${OUT} "${TEXT}")
