"""A study assistant as LangChain's tutorial builds one: reads a job as JSON from stdin, prints its
times, and what it finds, as JSON.

The job is {"corpus", "index", "encoder", "generator", "searched", "asked", "max_tokens"}.
"""

import json
import sys
from pathlib import Path
from time import perf_counter

started = perf_counter()
from langchain_community.document_loaders import DirectoryLoader, TextLoader  # noqa: E402
from langchain_community.vectorstores import FAISS  # noqa: E402
from langchain_core.output_parsers import StrOutputParser  # noqa: E402
from langchain_core.prompts import ChatPromptTemplate  # noqa: E402
from langchain_core.runnables import RunnablePassthrough  # noqa: E402
from langchain_huggingface import (  # noqa: E402
    ChatHuggingFace,
    HuggingFaceEmbeddings,
    HuggingFacePipeline,
)
from langchain_text_splitters import RecursiveCharacterTextSplitter  # noqa: E402

PROMPT = """Answer the question from the context only. If the context doesn't hold the answer, \
say that you don't know.

Context:
{context}

Question: {question}"""

job = json.load(sys.stdin)
embeddings = HuggingFaceEmbeddings(model_name=job["encoder"])
loaded, started = perf_counter() - started, perf_counter()

documents = DirectoryLoader(job["corpus"], glob="*.md", loader_cls=TextLoader).load()
splitter = RecursiveCharacterTextSplitter(chunk_size=1000, chunk_overlap=200)
chunks = splitter.split_documents(documents)
store = FAISS.from_documents(chunks, embeddings)
store.save_local(job["index"])
indexed = perf_counter() - started

retriever = store.as_retriever(search_kwargs={"k": 5})
found = {
    question: [
        {"document": Path(each.metadata["source"]).name, "text": each.page_content}
        for each in retriever.invoke(question)
    ]
    for question in job["searched"]
}

started = perf_counter()
model = HuggingFacePipeline.from_model_id(
    model_id=job["generator"],
    task="text-generation",
    pipeline_kwargs={"max_new_tokens": job["max_tokens"], "do_sample": False},
)
chain = (
    {
        "context": retriever | (lambda found: "\n\n".join(each.page_content for each in found)),
        "question": RunnablePassthrough(),
    }
    | ChatPromptTemplate.from_template(PROMPT)
    | ChatHuggingFace(llm=model)
    | StrOutputParser()
)
loaded += perf_counter() - started
answers = []
for question in job["asked"]:
    started, first = perf_counter(), 0.0
    for piece in chain.stream(question):
        first = first or (perf_counter() - started if piece else 0.0)
    answers.append({"first": first, "whole": perf_counter() - started})
print(
    json.dumps(
        {
            "load": loaded,
            "index": indexed,
            "chunks": len(chunks),
            "found": found,
            "answers": answers,
        }
    )
)
