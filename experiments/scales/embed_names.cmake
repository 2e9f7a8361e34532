# Writes OUT, which defines the text of scale_names.json.
file(READ ${IN} content)
file(WRITE ${OUT} "namespace scalevec::experiments {\nextern const char* const kBuiltInScaleNames;\nconst char* const kBuiltInScaleNames = R\"names(${content})names\";\n}\n")
